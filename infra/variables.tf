variable "name" {
  description = "Name of the testbed. Everything made on a machine is named after it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "The name is used for machines and folders: use a-z, 0-9 and -, at most 20 characters, beginning with a letter."
  }
}

variable "provider_kind" {
  description = "Where hosts come from: local (made on this machine) or static (hosts you have)."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["local", "static"], var.provider_kind)
    error_message = "There is no such provider; use local (hosts made on this machine) or static (hosts you have, by address); hosts on AWS have a root of their own, aws/."
  }
}

variable "network_cidr" {
  description = "Local only: the hosts' network, such as 10.83.17.0/24. The bridge takes its first address."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.provider_kind != "local" || can(cidrhost(var.network_cidr, 1))
    error_message = "Local hosts need a network to live in; write network_cidr like 10.83.17.0/24."
  }
}

variable "hosts" {
  description = "Hosts by name. `duty` says what runs on each: data (a database member) or load (Locust and the engine). `cpus` (local only) are the CPUs of this machine it may use, [] for all; `user`, `port`, `key_file`, `data_dir` and `inner_address` (by which hosts reach each other, \"\" for `address`) are for static hosts; `instance_type` is for the root aws/."
  type = map(object({
    duty          = string
    address       = optional(string, "")
    inner_address = optional(string, "")
    user          = optional(string, "root")
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
    condition     = length(distinct([for host in var.hosts : host.address])) == length(var.hosts)
    error_message = "Two hosts share one address; give each its own."
  }

  validation {
    condition = alltrue(flatten([
      for host in var.hosts : [
        for address in [host.address, coalesce(host.inner_address, host.address, "none")] : can(cidrhost("${address}/32", 0))
      ]
    ]))
    error_message = "Hosts are reached by IPv4 address; write one like 10.83.17.11."
  }

  validation {
    condition     = alltrue([for host in var.hosts : host.port >= 1 && host.port <= 65535 && floor(host.port) == host.port])
    error_message = "SSH listens on a port from 1 to 65535; 22 unless you moved it."
  }

  validation {
    condition     = var.provider_kind != "static" || alltrue([for host in var.hosts : host.key_file != ""])
    error_message = "A static host is opened with your own key; give every host a key_file."
  }

  validation {
    condition = var.provider_kind != "local" || alltrue([
      for host in var.hosts : try(
        cidrhost("${host.address}/${split("/", var.network_cidr)[1]}", 0) == cidrhost(var.network_cidr, 0)
        && !contains([cidrhost(var.network_cidr, 0), cidrhost(var.network_cidr, 1), cidrhost(var.network_cidr, -1)], host.address),
      false)
    ])
    error_message = "Local hosts live inside network_cidr, and its first address belongs to the bridge; choose addresses inside, such as those ending in .11 and above."
  }
}

variable "image" {
  description = "Local only: absolute path of the root file system that hosts boot from (made from infra/image)."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.provider_kind != "local" || startswith(var.image, "/")
    error_message = "Local hosts boot from an image; give its absolute path (`soakbed setup` makes it and prints the path)."
  }

  validation {
    condition     = !can(regex("[,:\\\\]", var.image))
    error_message = "The kernel splits overlay options at , : and \\; choose a cache folder without them (SOAKBED_CACHE)."
  }
}

variable "ssh_dir" {
  description = "Absolute path of the folder with id_ed25519, known_hosts and hosts/<host>_ed25519."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.ssh_dir, "/")
    error_message = "Terraform runs in infra/, so a relative path would point there; give ssh_dir as an absolute path."
  }
}
