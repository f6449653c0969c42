# Hosts you already have. Nothing is made, changed or removed.

resource "terraform_data" "host" {
  for_each = var.hosts

  input = each.value

  lifecycle {
    precondition {
      condition     = fileexists(pathexpand(each.value.key_file))
      error_message = "Host ${each.key}: no private key at ${each.value.key_file}; give key_file the path of the key that opens this host."
    }
  }
}
