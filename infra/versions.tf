terraform {
  # Tried with 1.11 and 1.15. The ceiling keeps a future 2.0 from planning something else.
  required_version = ">= 1.10, < 2.0"

  # The path comes from soakbed (`init -backend-config`), one state for each testbed.
  backend "local" {}
}
