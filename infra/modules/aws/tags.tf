# What every resource carries that can carry anything. By the first three a testbed's things are
# found; the last two are written over while it lives (the run that uses it, a longer lease), and a
# later apply must not write them back.

locals {
  tags = {
    "soakbed:project"       = "soakbed"
    "soakbed:testbed"       = var.name
    "soakbed:lease"         = var.lease.id
    "soakbed:run"           = var.lease.run
    "soakbed:owner"         = var.lease.owner
    "soakbed:purpose"       = var.lease.purpose
    "soakbed:destroy_after" = tostring(var.lease.destroy_after)
  }

  # What is unique in an account and region, so that two testbeds of one name do not meet.
  unique_name = "soakbed-${var.name}-${var.lease.id}"
}
