# The module for hosts you have, on its own.

mock_provider "terraform" {}

run "a_static_host_whose_key_is_not_there_is_refused" {
  command = plan

  module {
    source = "./modules/static"
  }

  variables {
    hosts = {
      d1 = { duty = "data", address = "192.0.2.11", user = "root", port = 22, key_file = "/nowhere/key", data_dir = "/data" }
    }
  }

  expect_failures = [terraform_data.host["d1"]]
}
