locals {
  running = [for name, host in aws_instance.host : name if host.instance_state == "running"]
}

output "hosts" {
  description = "The hosts as they came up, by name."
  value = {
    for name, host in var.hosts : name => {
      name     = name
      duty     = host.duty
      address  = aws_instance.host[name].private_ip
      user     = "admin"
      port     = 22
      key_file = "${var.ssh_dir}/id_ed25519"
      cpus     = []
      data_dir = "/data"
      image    = aws_instance.host[name].ami

      ssh_address   = aws_instance.host[name].public_ip
      instance_id   = aws_instance.host[name].id
      instance_type = aws_instance.host[name].instance_type
      zone          = aws_instance.host[name].availability_zone
    }
  }

  precondition {
    condition     = length(local.running) == length(var.hosts)
    error_message = "${length(var.hosts)} hosts were asked for and ${length(local.running)} run (${join(", ", local.running)}); a part of a testbed measures nothing. Provision again, or tear it down."
  }
}

output "cloud" {
  description = "Where the hosts are, and of what they were made (soakbed/records/testbed.py, Cloud)."
  value = {
    provider               = "aws"
    region                 = var.region
    zone                   = var.zone
    image_id               = terraform_data.image.output.id
    image_name             = terraform_data.image.output.name
    instance_types         = distinct([for host in var.hosts : host.instance_type])
    placement_group        = aws_placement_group.hosts.name
    network_sustained_mbit = min([for host in var.hosts : host.hardware.network_sustained_mbit]...)
  }
}
