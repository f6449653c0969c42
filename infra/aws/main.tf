module "aws" {
  source = "../modules/aws"

  name          = var.name
  ssh_dir       = var.ssh_dir
  public_key    = var.public_key
  region        = var.region
  zone          = var.zone
  network_cidr  = var.network_cidr
  operator_cidr = var.operator_cidr
  spot          = var.spot
  boot_disk_gb  = var.boot_disk_gb

  image = {
    owner        = var.image_owner
    name         = var.image_name
    architecture = one(distinct([for type in values(local.asked) : local.known[type].architecture]))
  }
  lease = {
    id            = var.lease_id
    run           = var.run_id
    owner         = var.owner
    purpose       = var.purpose
    destroy_after = var.destroy_after
  }
  hosts = {
    for name, host in var.hosts : name => {
      duty          = host.duty
      instance_type = local.asked[name]
      hardware      = local.known[local.asked[name]]
    }
  }
}
