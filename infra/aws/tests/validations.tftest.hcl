# One run for each validation: what is refused, and that nothing needs to be made to find out.

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

run "a_name_that_is_no_machine_name_is_refused" {
  command = plan
  variables {
    name = "My_Testbed"
  }
  expect_failures = [var.name]
}

run "another_provider_is_refused" {
  command = plan
  variables {
    provider_kind = "local"
  }
  expect_failures = [var.provider_kind]
}

run "a_relative_folder_of_keys_is_refused" {
  command = plan
  variables {
    ssh_dir = ".soakbed/aws-4x/ssh"
  }
  expect_failures = [var.ssh_dir]
}

run "a_private_key_is_refused" {
  command = plan
  variables {
    public_key = "-----BEGIN OPENSSH PRIVATE KEY-----"
  }
  expect_failures = [var.public_key]
}

run "a_region_that_is_none_is_refused" {
  command = plan
  variables {
    region = "Frankfurt"
    zone   = "Frankfurta"
  }
  expect_failures = [var.region]
}

run "a_zone_of_another_region_is_refused" {
  command = plan
  variables {
    zone = "eu-west-1a"
  }
  expect_failures = [var.zone]
}

run "a_network_that_is_none_is_refused" {
  command = plan
  variables {
    network_cidr = "10.90.0.0"
  }
  expect_failures = [var.network_cidr]
}

run "a_network_wider_than_a_vpc_is_refused" {
  command = plan
  variables {
    network_cidr = "10.0.0.0/8"
  }
  expect_failures = [var.network_cidr]
}

run "a_network_that_begins_inside_itself_is_refused" {
  command = plan
  variables {
    network_cidr = "10.90.0.1/16"
  }
  expect_failures = [var.network_cidr]
}

run "a_public_network_is_refused" {
  command = plan
  variables {
    network_cidr = "8.8.0.0/16"
  }
  expect_failures = [var.network_cidr]
}

run "ssh_open_to_the_world_is_refused" {
  command = plan
  variables {
    operator_cidr = "0.0.0.0/0"
  }
  expect_failures = [var.operator_cidr]
}

run "ssh_open_to_half_of_the_world_is_refused" {
  command = plan
  variables {
    operator_cidr = "128.0.0.0/1"
  }
  expect_failures = [var.operator_cidr]
}

run "an_operator_without_an_address_is_refused" {
  command = plan
  variables {
    operator_cidr = "auto"
  }
  expect_failures = [var.operator_cidr]
}

run "an_operator_whose_address_is_none_is_refused" {
  command = plan
  variables {
    operator_cidr = "203.0.113.700/32"
  }
  expect_failures = [var.operator_cidr]
}

run "an_instance_type_that_is_not_known_is_refused" {
  command = plan
  variables {
    instance_type = "t2.nano"
  }
  expect_failures = [var.instance_type]
}

run "a_boot_disk_too_small_for_debian_is_refused" {
  command = plan
  variables {
    boot_disk_gb = 4
  }
  expect_failures = [var.boot_disk_gb]
}

run "half_a_gigabyte_is_refused" {
  command = plan
  variables {
    boot_disk_gb = 30.5
  }
  expect_failures = [var.boot_disk_gb]
}

run "an_image_of_anybody_is_refused" {
  command = plan
  variables {
    image_owner = "*"
  }
  expect_failures = [var.image_owner]
}

run "an_image_name_that_fits_every_image_is_refused" {
  command = plan
  variables {
    image_name = "*"
  }
  expect_failures = [var.image_name]
}

run "hosts_without_a_lease_are_refused" {
  command = plan
  variables {
    lease_id = ""
  }
  expect_failures = [var.lease_id]
}

run "hosts_without_an_owner_are_refused" {
  command = plan
  variables {
    owner = ""
  }
  expect_failures = [var.owner]
}

run "a_purpose_that_no_tag_can_hold_is_refused" {
  command = plan
  variables {
    purpose = "this & that"
  }
  expect_failures = [var.purpose]
}

run "hosts_without_an_end_are_refused" {
  command = plan
  variables {
    destroy_after = 0
  }
  expect_failures = [var.destroy_after]
}

run "half_a_second_is_refused" {
  command = plan
  variables {
    destroy_after = 2000000000.5
  }
  expect_failures = [var.destroy_after]
}

run "a_host_name_that_is_no_machine_name_is_refused" {
  command = plan
  variables {
    hosts = {
      d2  = { duty = "data" }
      d3  = { duty = "data" }
      l1  = { duty = "load" }
      D_1 = { duty = "data" }
    }
  }
  expect_failures = [var.hosts]
}

run "an_unknown_duty_is_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data" }
      d2 = { duty = "data" }
      d3 = { duty = "data" }
      l1 = { duty = "load" }
      m1 = { duty = "monitor" }
    }
  }
  expect_failures = [var.hosts]
}

run "two_data_hosts_are_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data" }
      d2 = { duty = "data" }
      l1 = { duty = "load" }
    }
  }
  expect_failures = [var.hosts]
}

run "no_load_host_is_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data" }
      d2 = { duty = "data" }
      d3 = { duty = "data" }
    }
  }
  expect_failures = [var.hosts]
}

run "a_host_that_brings_its_address_is_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data", address = "10.90.0.11" }
      d2 = { duty = "data" }
      d3 = { duty = "data" }
      l1 = { duty = "load" }
    }
  }
  expect_failures = [var.hosts]
}

run "a_host_of_a_type_that_is_not_known_is_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data" }
      d2 = { duty = "data" }
      d3 = { duty = "data" }
      l1 = { duty = "load", instance_type = "t2.nano" }
    }
  }
  expect_failures = [var.hosts]
}

run "hosts_of_two_architectures_are_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data" }
      d2 = { duty = "data" }
      d3 = { duty = "data" }
      l1 = { duty = "load", instance_type = "c7gd.2xlarge" }
    }
  }
  expect_failures = [var.hosts]
}

run "a_data_host_without_a_local_disk_is_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data", instance_type = "c6in.2xlarge" }
      d2 = { duty = "data" }
      d3 = { duty = "data" }
      l1 = { duty = "load" }
    }
  }
  expect_failures = [var.hosts]
}
