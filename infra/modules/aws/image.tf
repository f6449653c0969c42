# The image by who publishes it and what it is called. What was found is kept: hosts that are made
# later boot from it too, and a newer image replaces no host that lives.

locals {
  image_name = replace(var.image.name, "{arch}", var.image.architecture)
}

data "aws_ami" "debian" {
  most_recent = true
  owners      = [var.image.owner]

  filter {
    name   = "name"
    values = [local.image_name]
  }
  filter {
    name   = "architecture"
    values = [{ amd64 = "x86_64", arm64 = "arm64" }[var.image.architecture]]
  }
  filter {
    name   = "root-device-type"
    values = ["ebs"]
  }
  filter {
    name   = "virtualization-type"
    values = ["hvm"]
  }
  filter {
    name   = "state"
    values = ["available"]
  }
}

resource "terraform_data" "image" {
  triggers_replace = var.image

  input = {
    id   = data.aws_ami.debian.id
    name = data.aws_ami.debian.name
  }

  lifecycle {
    ignore_changes = [input]
  }
}
