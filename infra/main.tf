module "local" {
  source = "./modules/local"
  count  = var.provider_kind == "local" ? 1 : 0

  name         = var.name
  network_cidr = var.network_cidr
  hosts        = var.hosts
  image        = var.image
  ssh_dir      = var.ssh_dir
}

module "static" {
  source = "./modules/static"
  count  = var.provider_kind == "static" ? 1 : 0

  hosts = var.hosts
}

locals {
  data_cpus = flatten([for host in var.hosts : host.cpus if host.duty == "data"])
  load_cpus = flatten([for host in var.hosts : host.cpus if host.duty == "load"])
}

check "load_has_cpus_of_its_own" {
  assert {
    condition     = length(setintersection(local.data_cpus, local.load_cpus)) == 0
    error_message = "Load and data hosts share CPUs, so the load generator slows what it measures; use a machine with 2 cores or more."
  }
}
