# What comes out for what goes in. The provider is a mock: nothing is made, and nobody is asked.

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
  provider_kind = "aws"
  ssh_dir       = "/nowhere/ssh"
  public_key    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAA soakbed"
  region        = "eu-central-1"
  zone          = "eu-central-1b"
  operator_cidr = "203.0.113.7/32"
  lease_id      = "a1b2c3d4"
  owner         = "somebody"
  destroy_after = 2000000000
  hosts = {
    d1 = { duty = "data" }
    d2 = { duty = "data" }
    d3 = { duty = "data" }
    l1 = { duty = "load" }
  }
}

run "hosts_come_out_as_the_one_testbed_object" {
  assert {
    condition     = output.testbed.schema == 1 && output.testbed.name == "t-plan" && output.testbed.provider == "aws"
    error_message = "The testbed must say its schema, name and provider."
  }
  assert {
    condition     = !output.testbed.shares_machine && output.testbed.known_hosts_file == "/nowhere/ssh/known_hosts"
    error_message = "Hosts in a cloud are machines of their own, known by keys in the testbed's own file."
  }
  assert {
    condition     = keys(output.testbed.hosts) == ["d1", "d2", "d3", "l1"] && output.testbed.hosts.l1.duty == "load"
    error_message = "Every host asked for must come out, by its name and with its duty."
  }
  assert {
    condition     = alltrue([for host in output.testbed.hosts : host.user == "admin" && host.key_file == "/nowhere/ssh/id_ed25519"])
    error_message = "Debian's images let in admin, by the testbed's own key."
  }
  assert {
    condition     = alltrue([for host in output.testbed.hosts : host.ssh_address == "203.0.113.50" && host.address != host.ssh_address])
    error_message = "Hosts reach each other by one address, and the controller reaches them by another."
  }
  assert {
    condition     = alltrue([for host in output.testbed.hosts : host.image == "ami-0debian" && host.instance_type == "c6id.2xlarge" && host.zone == "eu-central-1b"])
    error_message = "A host must say what it was made of, and where."
  }
  assert {
    condition = output.testbed.cloud == {
      provider               = "aws"
      region                 = "eu-central-1"
      zone                   = "eu-central-1b"
      image_id               = "ami-0debian"
      image_name             = "debian-12-amd64-20250814-2204"
      instance_types         = tolist(["c6id.2xlarge"])
      placement_group        = "soakbed-t-plan-a1b2c3d4"
      network_sustained_mbit = 3125
    }
    error_message = "The testbed must say which cloud, image and types it is made of, and its sustained network."
  }
}

run "the_weakest_host_says_what_the_network_holds" {
  variables {
    hosts = {
      d1 = { duty = "data", instance_type = "c5d.2xlarge" }
      d2 = { duty = "data" }
      d3 = { duty = "data" }
      l1 = { duty = "load", instance_type = "c6in.2xlarge" }
    }
  }
  assert {
    condition     = output.testbed.cloud.network_sustained_mbit == 2500
    error_message = "A testbed is as fast as its slowest host."
  }
  assert {
    condition     = sort(output.testbed.cloud.instance_types) == tolist(["c5d.2xlarge", "c6id.2xlarge", "c6in.2xlarge"])
    error_message = "Each type must be told once."
  }
}
