variable "name" {
  description = "Name of the testbed; all names and tags derive from it."
  type        = string
}

variable "ssh_dir" {
  description = "Folder of the controller with id_ed25519, which opens every host."
  type        = string
}

variable "public_key" {
  description = "The public half of that key, as OpenSSH writes it."
  type        = string
}

variable "region" {
  description = "Region of all hosts; only told on."
  type        = string
}

variable "zone" {
  description = "The one availability zone of all hosts."
  type        = string
}

variable "network_cidr" {
  description = "The testbed's own private network."
  type        = string
}

variable "operator_cidr" {
  description = "Who may reach SSH."
  type        = string
}

variable "spot" {
  description = "Whether hosts are one-time spot instances."
  type        = bool
}

variable "boot_disk_gb" {
  description = "Size of each host's encrypted boot disk, GB."
  type        = number
}

variable "image" {
  description = "Whose image hosts boot from, and its name; `architecture` is amd64 or arm64, and {arch} in the name stands for it."
  type = object({
    owner        = string
    name         = string
    architecture = string
  })
}

variable "lease" {
  description = "Who answers for the hosts, and for how long: what the tags say. `destroy_after` is in seconds since 1970 (UTC)."
  type = object({
    id            = string
    run           = string
    owner         = string
    purpose       = string
    destroy_after = number
  })
}

variable "hosts" {
  description = "Hosts to make, by name; `hardware` is their type's row of instance_types.json."
  type = map(object({
    duty          = string
    instance_type = string
    hardware      = object({ network_sustained_mbit = number })
  }))
}
