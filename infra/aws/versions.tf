terraform {
  # Tried with 1.11 and 1.15. The ceiling keeps a future 2.0 from planning something else.
  required_version = ">= 1.10, < 2.0"

  required_providers {
    # provider.json holds the sums of this version; soakbed asks for them after every init.
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

# Credentials and endpoints come from AWS's own variables and files, never from here.
provider "aws" {
  region = var.region

  # This version asks 25 times where a zone has no room (InsufficientInstanceCapacity), which takes
  # many minutes while hosts already made cost; six take three seconds. Seen with 5.100.0.
  max_retries = 6
}
