variable "name" {
  description = "Name of the testbed. Everything made in the account is named and tagged after it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "The name is used for machines and folders: use a-z, 0-9 and -, at most 20 characters, beginning with a letter."
  }
}

variable "provider_kind" {
  description = "Where hosts come from; this root makes hosts on AWS."
  type        = string
  nullable    = false

  validation {
    condition     = var.provider_kind == "aws"
    error_message = "This root makes hosts on AWS alone; local and static hosts have the root above it."
  }
}

variable "ssh_dir" {
  description = "Absolute path of the folder with id_ed25519, id_ed25519.pub and known_hosts. Only the public key is read."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.ssh_dir, "/")
    error_message = "Terraform runs in a folder of its own, so a relative path would point there; give ssh_dir as an absolute path."
  }
}

variable "public_key" {
  description = "The public half of the key that opens the hosts, as OpenSSH writes it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( .*)?$", var.public_key)) && !strcontains(var.public_key, "PRIVATE")
    error_message = "Hosts are opened by a public key of one line, ssh-ed25519 ...; a private key has no place in Terraform, whose state would keep it."
  }
}

variable "region" {
  description = "Region of all hosts, such as eu-central-1."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "There is no such region; write one like eu-central-1."
  }
}

variable "zone" {
  description = "The one availability zone of all hosts, such as eu-central-1a: traffic between zones is slow, and billed."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^${var.region}[a-z]$", var.zone))
    error_message = "The zone is not one of the region; write the region and a letter, such as eu-central-1a."
  }
}

variable "network_cidr" {
  description = "The testbed's own private network (VPC), such as 10.90.0.0/16; all hosts stand in one subnet of it."
  type        = string
  default     = "10.90.0.0/16"
  nullable    = false

  validation {
    condition = try(
      cidrhost(var.network_cidr, 0) == split("/", var.network_cidr)[0]
      && tonumber(split("/", var.network_cidr)[1]) >= 16 && tonumber(split("/", var.network_cidr)[1]) <= 28,
    false)
    error_message = "A VPC has 16 to 65,536 addresses; write network_cidr like 10.90.0.0/16."
  }

  validation {
    condition     = can(regex("^(10\\.|192\\.168\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.)", var.network_cidr))
    error_message = "The network is the testbed's own; use a private one, inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16."
  }
}

variable "operator_cidr" {
  description = "Who may reach SSH, such as 203.0.113.7/32. Nothing else is open to the world."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9.]+/[0-9]+$", var.operator_cidr)) && can(cidrhost(var.operator_cidr, 0))
    error_message = "SSH is opened to a network of IPv4 addresses; write your own like 203.0.113.7/32."
  }

  validation {
    condition     = try(tonumber(split("/", var.operator_cidr)[1]) >= 8, false)
    error_message = "SSH would be open to a large part of the world; write your own address like 203.0.113.7/32."
  }
}

variable "instance_type" {
  description = "Type of every host that names none of its own; modules/aws/instance_types.json has those that are known."
  type        = string
  default     = "c6id.2xlarge"
  nullable    = false

  validation {
    condition     = contains(keys(local.known), var.instance_type)
    error_message = "What ${var.instance_type} has is not known here, so its figures could not be read; use one of ${join(", ", keys(local.known))}, or add it to modules/aws/instance_types.json."
  }
}

variable "spot" {
  description = "Whether hosts are one-time spot instances: cheaper, and AWS may end them at any moment."
  type        = bool
  default     = false
  nullable    = false
}

variable "boot_disk_gb" {
  description = "Size of each host's encrypted boot disk (gp3), GB; data lies on the local NVMe, not there."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.boot_disk_gb >= 10 && var.boot_disk_gb <= 1000 && floor(var.boot_disk_gb) == var.boot_disk_gb
    error_message = "Debian needs 10 GB to boot and install, and data lies elsewhere; write boot_disk_gb as a whole number from 10 to 1000."
  }
}

variable "image_owner" {
  description = "Account that publishes the image; Debian's own by default. Source: wiki.debian.org/Cloud/AmazonEC2Image."
  type        = string
  default     = "136693071363"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]{12}|self|amazon|aws-marketplace)$", var.image_owner))
    error_message = "Anybody may publish an image under any name, so its owner is asked for: write 12 digits, or self."
  }
}

variable "image_name" {
  description = "Name of the image, with * for its date; {arch} stands for amd64 or arm64, as the type of the hosts has it."
  type        = string
  default     = "debian-12-{arch}-*"
  nullable    = false

  validation {
    condition     = length(replace(var.image_name, "*", "")) >= 8
    error_message = "Such a name fits every image; write one like debian-12-{arch}-*."
  }
}

variable "lease_id" {
  description = "A random word, made when this testbed was first provisioned; by it all that belongs to it is found."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]{6,40}$", var.lease_id))
    error_message = "What has no lease cannot be told from what belongs to others; give lease_id 6 to 40 of a-z, 0-9 and -."
  }
}

variable "run_id" {
  description = "The run that the hosts are made for; - for none yet. Later runs write their own over it."
  type        = string
  default     = "-"
  nullable    = false
}

variable "owner" {
  description = "Who answers for the hosts."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_.@-]{1,64}$", var.owner))
    error_message = "Somebody must answer for what costs money; give owner 1 to 64 letters, digits and . _ @ -."
  }
}

variable "purpose" {
  description = "What the hosts are for."
  type        = string
  default     = "benchmark"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_ .@-]{1,64}$", var.purpose))
    error_message = "A tag cannot hold that; give purpose 1 to 64 letters, digits, spaces and . _ @ -."
  }
}

variable "destroy_after" {
  description = "When the first lease ends, as seconds since 1970 (UTC); the heartbeat writes later ones over it."
  type        = number
  nullable    = false

  validation {
    condition     = var.destroy_after >= 1577836800 && floor(var.destroy_after) == var.destroy_after
    error_message = "Hosts without an end cost money for ever; give destroy_after as whole seconds since 1970."
  }
}

variable "hosts" {
  description = "Hosts by name. `duty` says what runs on each: data (a database member) or load (Locust and the engine). `instance_type` \"\" is the testbed's. AWS gives the address; `user`, `port`, `key_file`, `data_dir`, `inner_address` and `cpus` are for the root above."
  type = map(object({
    duty          = string
    address       = optional(string, "")
    inner_address = optional(string, "")
    user          = optional(string, "admin")
    port          = optional(number, 22)
    key_file      = optional(string, "")
    data_dir      = optional(string, "/data")
    cpus          = optional(list(number), [])
    instance_type = optional(string, "")
  }))
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.hosts) : can(regex("^[a-z][a-z0-9-]{0,14}$", name))])
    error_message = "Host names become machine names: use a-z, 0-9 and -, at most 15 characters, beginning with a letter."
  }

  validation {
    condition     = alltrue([for host in var.hosts : contains(["data", "load"], host.duty)])
    error_message = "There is no such duty; use data (a database member runs there) or load (the load generator runs there)."
  }

  validation {
    condition     = length([for host in var.hosts : host if host.duty == "data"]) >= 3
    error_message = "etcd and Redis Cluster need at least 3 data hosts for a majority; add hosts with duty = \"data\"."
  }

  validation {
    condition     = length([for host in var.hosts : host if host.duty == "load"]) >= 1
    error_message = "Nothing would press the databases; add a host with duty = \"load\"."
  }

  validation {
    condition     = alltrue([for host in var.hosts : host.address == "" && host.inner_address == ""])
    error_message = "AWS gives hosts their addresses; leave address and inner_address out."
  }

  validation {
    condition     = alltrue([for host in var.hosts : host.instance_type == "" || contains(keys(local.known), host.instance_type)])
    error_message = "What a host's instance_type has is not known here, so its figures could not be read; use one of ${join(", ", keys(local.known))}, or add it to modules/aws/instance_types.json."
  }

  validation {
    condition     = length(distinct(compact([for host in var.hosts : try(local.known[coalesce(host.instance_type, var.instance_type)].architecture, "")]))) <= 1
    error_message = "Hosts of two architectures cannot share one image and one set of artifacts; use types of amd64 or of arm64 alone."
  }

  validation {
    condition     = alltrue([for host in var.hosts : host.duty != "data" || try(local.known[coalesce(host.instance_type, var.instance_type)].nvme_gb > 0, true)])
    error_message = "A data host keeps its database on a local NVMe disk, and one of these types has none; use it for load hosts alone."
  }
}
