# One run for each validation: what is refused, and that nothing needs to be made to find out.

mock_provider "terraform" {}

variables {
  name          = "t-plan"
  provider_kind = "local"
  network_cidr  = "10.83.90.0/24"
  image         = "/nowhere/image"
  ssh_dir       = "/nowhere/ssh"
  hosts = {
    d1 = { duty = "data", address = "10.83.90.11", cpus = [0] }
    d2 = { duty = "data", address = "10.83.90.12", cpus = [0] }
    d3 = { duty = "data", address = "10.83.90.13", cpus = [0] }
    l1 = { duty = "load", address = "10.83.90.21", cpus = [1] }
  }
}

run "a_name_that_is_no_machine_name_is_refused" {
  command = plan
  variables {
    name = "My_Testbed"
  }
  expect_failures = [var.name]
}

run "an_unknown_provider_is_refused" {
  command = plan
  variables {
    provider_kind = "cloud"
  }
  expect_failures = [var.provider_kind]
}

run "local_hosts_without_a_network_are_refused" {
  command = plan
  variables {
    network_cidr = "10.83.90.0"
  }
  expect_failures = [var.network_cidr]
}

run "a_host_name_that_is_no_machine_name_is_refused" {
  command = plan
  variables {
    hosts = {
      D_1 = { duty = "data", address = "10.83.90.11" }
      d2  = { duty = "data", address = "10.83.90.12" }
      d3  = { duty = "data", address = "10.83.90.13" }
      l1  = { duty = "load", address = "10.83.90.21" }
    }
  }
  expect_failures = [var.hosts]
}

run "an_unknown_duty_is_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data", address = "10.83.90.11" }
      d2 = { duty = "data", address = "10.83.90.12" }
      d3 = { duty = "data", address = "10.83.90.13" }
      l1 = { duty = "load", address = "10.83.90.21" }
      m1 = { duty = "monitor", address = "10.83.90.31" }
    }
  }
  expect_failures = [var.hosts]
}

run "two_data_hosts_are_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data", address = "10.83.90.11" }
      d2 = { duty = "data", address = "10.83.90.12" }
      l1 = { duty = "load", address = "10.83.90.21" }
    }
  }
  expect_failures = [var.hosts]
}

run "no_load_host_is_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data", address = "10.83.90.11" }
      d2 = { duty = "data", address = "10.83.90.12" }
      d3 = { duty = "data", address = "10.83.90.13" }
    }
  }
  expect_failures = [var.hosts]
}

run "two_hosts_with_one_address_are_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data", address = "10.83.90.11" }
      d2 = { duty = "data", address = "10.83.90.12" }
      d3 = { duty = "data", address = "10.83.90.12" }
      l1 = { duty = "load", address = "10.83.90.21" }
    }
  }
  expect_failures = [var.hosts]
}

run "an_address_that_is_a_name_is_refused" {
  command = plan
  variables {
    provider_kind = "static"
    hosts = {
      d1 = { duty = "data", address = "d1.example", key_file = "main.tf" }
      d2 = { duty = "data", address = "192.0.2.12", key_file = "main.tf" }
      d3 = { duty = "data", address = "192.0.2.13", key_file = "main.tf" }
      l1 = { duty = "load", address = "192.0.2.21", key_file = "main.tf" }
    }
  }
  expect_failures = [var.hosts]
}

run "a_port_that_is_none_is_refused" {
  command = plan
  variables {
    provider_kind = "static"
    hosts = {
      d1 = { duty = "data", address = "192.0.2.11", key_file = "main.tf", port = 70000 }
      d2 = { duty = "data", address = "192.0.2.12", key_file = "main.tf" }
      d3 = { duty = "data", address = "192.0.2.13", key_file = "main.tf" }
      l1 = { duty = "load", address = "192.0.2.21", key_file = "main.tf" }
    }
  }
  expect_failures = [var.hosts]
}

run "a_static_host_without_a_key_is_refused" {
  command = plan
  variables {
    provider_kind = "static"
    hosts = {
      d1 = { duty = "data", address = "192.0.2.11", key_file = "main.tf" }
      d2 = { duty = "data", address = "192.0.2.12", key_file = "main.tf" }
      d3 = { duty = "data", address = "192.0.2.13" }
      l1 = { duty = "load", address = "192.0.2.21", key_file = "main.tf" }
    }
  }
  expect_failures = [var.hosts]
}

run "a_local_host_outside_the_network_is_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data", address = "10.83.90.11" }
      d2 = { duty = "data", address = "10.83.90.12" }
      d3 = { duty = "data", address = "10.83.91.13" }
      l1 = { duty = "load", address = "10.83.90.21" }
    }
  }
  expect_failures = [var.hosts]
}

run "a_local_host_with_the_address_of_the_bridge_is_refused" {
  command = plan
  variables {
    hosts = {
      d1 = { duty = "data", address = "10.83.90.1" }
      d2 = { duty = "data", address = "10.83.90.12" }
      d3 = { duty = "data", address = "10.83.90.13" }
      l1 = { duty = "load", address = "10.83.90.21" }
    }
  }
  expect_failures = [var.hosts]
}

run "local_hosts_without_an_image_are_refused" {
  command = plan
  variables {
    image = ""
  }
  expect_failures = [var.image]
}

run "an_image_whose_path_the_kernel_would_split_is_refused" {
  command = plan
  variables {
    image = "/cache,with:marks/image"
  }
  expect_failures = [var.image]
}

run "a_relative_folder_of_keys_is_refused" {
  command = plan
  variables {
    ssh_dir = ".soakbed/local-4x/ssh"
  }
  expect_failures = [var.ssh_dir]
}
