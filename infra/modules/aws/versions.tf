terraform {
  # Tried with 1.11 and 1.15. The ceiling keeps a future 2.0 from planning something else.
  required_version = ">= 1.10, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}
