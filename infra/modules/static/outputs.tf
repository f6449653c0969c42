output "hosts" {
  description = "The hosts as given, by name."
  value = {
    for name, host in var.hosts : name => {
      name     = name
      duty     = host.duty
      address  = coalesce(host.inner_address, terraform_data.host[name].output.address)
      user     = host.user
      port     = host.port
      key_file = pathexpand(host.key_file)
      cpus     = []
      data_dir = host.data_dir
      image    = ""

      ssh_address   = host.inner_address == "" ? "" : terraform_data.host[name].output.address
      instance_id   = ""
      instance_type = ""
      zone          = ""
    }
  }
}
