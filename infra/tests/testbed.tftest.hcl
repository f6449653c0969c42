# What comes out for what goes in, as far as a plan can tell.

mock_provider "terraform" {}

variables {
  name          = "t-plan"
  provider_kind = "local"
  network_cidr  = "10.83.90.0/24"
  image         = "/nowhere/0a1b2c"
  ssh_dir       = "/nowhere/ssh"
  hosts = {
    d1 = { duty = "data", address = "10.83.90.11", cpus = [0] }
    d2 = { duty = "data", address = "10.83.90.12", cpus = [0] }
    d3 = { duty = "data", address = "10.83.90.13", cpus = [0] }
    l1 = { duty = "load", address = "10.83.90.21", cpus = [1] }
  }
}

run "local_hosts_share_the_machine_and_boot_from_one_image" {
  command = plan

  assert {
    condition     = output.testbed.schema == 1 && output.testbed.name == "t-plan" && output.testbed.provider == "local"
    error_message = "The testbed must say its schema, name and provider."
  }
  assert {
    condition     = output.testbed.shares_machine
    error_message = "Local hosts all run on one machine, and the page must be able to say so."
  }
  assert {
    condition     = keys(output.testbed.hosts) == ["d1", "d2", "d3", "l1"]
    error_message = "Every host asked for must come out, by its name."
  }
  assert {
    condition     = output.testbed.hosts.l1.duty == "load" && output.testbed.hosts.l1.cpus == tolist([1])
    error_message = "A host must come out with its duty and its CPUs."
  }
  assert {
    condition     = alltrue([for host in output.testbed.hosts : host.image == "0a1b2c" && host.key_file == "/nowhere/ssh/id_ed25519"])
    error_message = "All local hosts boot from one image and open to one key."
  }
  assert {
    condition     = output.testbed.known_hosts_file == "/nowhere/ssh/known_hosts"
    error_message = "The testbed must say where the hosts' own keys are known."
  }
}

run "static_hosts_come_out_as_given" {
  command = plan
  variables {
    provider_kind = "static"
    network_cidr  = ""
    image         = ""
    hosts = {
      d1 = { duty = "data", address = "192.0.2.11", user = "admin", port = 2222, key_file = "main.tf" }
      d2 = { duty = "data", address = "192.0.2.12", key_file = "main.tf", data_dir = "/mnt/fast" }
      d3 = { duty = "data", address = "192.0.2.13", key_file = "main.tf" }
      l1 = { duty = "load", address = "192.0.2.21", key_file = "main.tf" }
    }
  }

  assert {
    condition     = !output.testbed.shares_machine
    error_message = "Static hosts are machines of their own."
  }
  assert {
    condition     = output.testbed.hosts.d1.user == "admin" && output.testbed.hosts.d1.port == 2222
    error_message = "A static host must keep its user and port."
  }
  assert {
    condition     = output.testbed.hosts.d2.data_dir == "/mnt/fast" && output.testbed.hosts.d3.data_dir == "/data"
    error_message = "Data goes where the host says, else to /data."
  }
}

run "load_and_data_hosts_on_one_cpu_are_warned_about" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data", address = "10.83.90.11", cpus = [0] }
      d2 = { duty = "data", address = "10.83.90.12", cpus = [0] }
      d3 = { duty = "data", address = "10.83.90.13", cpus = [0] }
      l1 = { duty = "load", address = "10.83.90.21", cpus = [0] }
    }
  }
  expect_failures = [check.load_has_cpus_of_its_own]
}
