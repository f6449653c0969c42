variable "name" {
  description = "Name of the testbed; the bridge, the folders and the machine names derive from it."
  type        = string
}

variable "network_cidr" {
  description = "The hosts' network, such as 10.83.17.0/24; the bridge takes its first address."
  type        = string
}

variable "hosts" {
  description = "Hosts to make, by name. `cpus`: CPUs of this machine that the host may use, [] for all."
  type = map(object({
    duty    = string
    address = string
    cpus    = list(number)
  }))
}

variable "image" {
  description = "Folder with the root file system that all hosts boot from; it is only read."
  type        = string
}

variable "ssh_dir" {
  description = "Folder with id_ed25519 (opens every host), known_hosts, and hosts/<host>_ed25519 (each host's own key)."
  type        = string
}
