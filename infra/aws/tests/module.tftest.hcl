# The module on its own: what it would make, and what nobody could reach, read or keep.

mock_provider "aws" {
  mock_data "aws_ami" {
    defaults = { id = "ami-0debian", name = "debian-12-amd64-20250814-2204" }
  }
  mock_resource "aws_instance" {
    defaults = { instance_state = "running", public_ip = "203.0.113.50", availability_zone = "eu-central-1b" }
  }
}


variables {
  name          = "t-plan"
  ssh_dir       = "/nowhere/ssh"
  public_key    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAA soakbed"
  region        = "eu-central-1"
  zone          = "eu-central-1b"
  network_cidr  = "10.90.0.0/16"
  operator_cidr = "203.0.113.7/32"
  spot          = true
  boot_disk_gb  = 30
  image         = { owner = "136693071363", name = "debian-12-{arch}-*", architecture = "arm64" }
  lease         = { id = "a1b2c3d4", run = "-", owner = "somebody", purpose = "benchmark", destroy_after = 2000000000 }
  hosts = {
    d1 = { duty = "data", instance_type = "c7gd.2xlarge", hardware = { network_sustained_mbit = 3750 } }
    l1 = { duty = "load", instance_type = "c7gd.2xlarge", hardware = { network_sustained_mbit = 3750 } }
  }
}

run "hosts_are_closed_encrypted_and_end_when_they_switch_themselves_off" {
  module {
    source = "../modules/aws"
  }

  assert {
    condition     = alltrue([for host in aws_instance.host : host.metadata_options[0].http_tokens == "required" && host.metadata_options[0].http_put_response_hop_limit == 1])
    error_message = "Metadata must be read by version 2 alone, and not through a container."
  }
  assert {
    condition     = alltrue([for host in aws_instance.host : host.root_block_device[0].encrypted && host.root_block_device[0].delete_on_termination && host.root_block_device[0].volume_type == "gp3"])
    error_message = "Boot disks must be encrypted and go with their host."
  }
  assert {
    condition     = alltrue([for host in aws_instance.host : host.instance_initiated_shutdown_behavior == "terminate"])
    error_message = "A host that switches itself off must be gone."
  }
  assert {
    condition     = alltrue([for host in aws_instance.host : host.instance_market_options[0].spot_options[0].spot_instance_type == "one-time"])
    error_message = "A spot host must not come back by itself."
  }
  assert {
    condition     = aws_placement_group.hosts.strategy == "cluster" && alltrue([for host in aws_instance.host : host.placement_group == aws_placement_group.hosts.name])
    error_message = "Hosts must stand near each other."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.operator.cidr_ipv4 == "203.0.113.7/32" && aws_vpc_security_group_ingress_rule.operator.to_port == 22
    error_message = "The operator may reach SSH, and nothing else."
  }
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.inner : rule.cidr_ipv4 == null && rule.referenced_security_group_id == aws_security_group.hosts.id])
    error_message = "Ports of databases are for hosts of this testbed alone."
  }
  assert {
    condition     = one(one([for filter in data.aws_ami.debian.filter : filter.values if filter.name == "name"])) == "debian-12-arm64-*"
    error_message = "The image must be of the hosts' architecture."
  }
  assert {
    condition     = aws_instance.host["d1"].tags["soakbed:lease"] == "a1b2c3d4" && aws_instance.host["d1"].tags["soakbed:destroy_after"] == "2000000000" && aws_instance.host["d1"].tags.Name == "soakbed-t-plan-d1"
    error_message = "A host must carry whose it is and when it must be gone."
  }
}
