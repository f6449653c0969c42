output "hosts" {
  description = "The hosts as they came up, by name."
  value = {
    for name, host in var.hosts : name => {
      name     = name
      duty     = host.duty
      address  = terraform_data.host[name].output.address
      user     = "root"
      port     = 22
      key_file = "${var.ssh_dir}/id_ed25519"
      cpus     = host.cpus
      data_dir = "/data"
      image    = basename(var.image)

      ssh_address   = ""
      instance_id   = ""
      instance_type = ""
      zone          = ""
    }
  }
}
