locals {
  known = jsondecode(file("${path.module}/../modules/aws/instance_types.json")).types

  # Types as asked for; those that are not known are refused by the variables' own validations.
  asked = { for name, host in var.hosts : name => coalesce(host.instance_type, var.instance_type) }
}
