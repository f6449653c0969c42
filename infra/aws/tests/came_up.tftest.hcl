# What came up otherwise than asked for. The first run's state is the second's beginning.

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

run "a_testbed_with_a_part_of_its_hosts_is_refused" {
  module {
    source = "../modules/aws"
  }
  override_resource {
    target = aws_instance.host["d1"]
    values = { instance_state = "terminated", public_ip = "203.0.113.51", availability_zone = "eu-central-1b" }
  }
  expect_failures = [output.hosts]
}

run "a_host_that_the_operator_cannot_reach_is_refused" {
  module {
    source = "../modules/aws"
  }
  # Hosts of another type are made again, so that this one is made without an address.
  variables {
    hosts = {
      d1 = { duty = "data", instance_type = "c8gd.2xlarge", hardware = { network_sustained_mbit = 3750 } }
      l1 = { duty = "load", instance_type = "c8gd.2xlarge", hardware = { network_sustained_mbit = 3750 } }
    }
  }
  override_resource {
    target = aws_instance.host["l1"]
    values = { instance_state = "running", public_ip = "", availability_zone = "eu-central-1b" }
  }
  expect_failures = [aws_instance.host["l1"]]
}
