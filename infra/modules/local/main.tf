# Hosts on the machine Terraform runs on: systemd-nspawn containers that boot their own systemd
# over one shared image, joined by a bridge that leads nowhere else.

locals {
  bridge = "sb-${substr(sha256(var.name), 0, 8)}"
  prefix = split("/", var.network_cidr)[1]

  network = {
    testbed = var.name
    bridge  = local.bridge
    address = "${cidrhost(var.network_cidr, 1)}/${local.prefix}"
  }

  # Everything that makes a host what it is. A change of any of it makes the host again.
  machines = {
    for name, host in var.hosts : name => {
      testbed = var.name
      host    = name
      address = host.address
      prefix  = local.prefix
      bridge  = local.bridge
      cpus    = join(",", host.cpus)
      image   = var.image
      ssh_dir = var.ssh_dir

      # A host knows only the keys it was made with. No file yet reads as no key.
      keys = join(" ", [
        try(filesha256("${var.ssh_dir}/id_ed25519.pub"), ""),
        try(filesha256("${var.ssh_dir}/hosts/${name}_ed25519.pub"), ""),
      ])
    }
  }
}

# No shell between Terraform and the script: on Ctrl-C Terraform kills what it started, and a shell
# would die alone.
resource "terraform_data" "network" {
  input            = local.network
  triggers_replace = local.network

  provisioner "local-exec" {
    interpreter = ["python3", "${path.module}/machine.py"]
    command     = "network-up"
    quiet       = true
    environment = {
      SOAKBED_LOCAL_INPUT = jsonencode(self.input)
    }
  }

  provisioner "local-exec" {
    when        = destroy
    interpreter = ["python3", "${path.module}/machine.py"]
    command     = "network-down"
    quiet       = true
    environment = {
      SOAKBED_LOCAL_INPUT = jsonencode(self.input)
    }
  }
}

resource "terraform_data" "host" {
  for_each = local.machines

  input            = each.value
  triggers_replace = [each.value, terraform_data.network.id]

  provisioner "local-exec" {
    interpreter = ["python3", "${path.module}/machine.py"]
    command     = "host-up"
    quiet       = true
    environment = {
      SOAKBED_LOCAL_INPUT = jsonencode(self.input)
    }
  }

  provisioner "local-exec" {
    when        = destroy
    interpreter = ["python3", "${path.module}/machine.py"]
    command     = "host-down"
    quiet       = true
    environment = {
      SOAKBED_LOCAL_INPUT = jsonencode(self.input)
    }
  }
}
