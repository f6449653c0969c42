output "testbed" {
  description = "The testbed as it came up: the one thing that soakbed reads (soakbed/records/testbed.py)."
  value = {
    schema           = 1
    name             = var.name
    provider         = var.provider_kind
    shares_machine   = false
    known_hosts_file = "${var.ssh_dir}/known_hosts"
    hosts            = module.aws.hosts
    cloud            = module.aws.cloud
  }
}
