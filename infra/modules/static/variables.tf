variable "hosts" {
  description = "Hosts to use, by name: where they are (`inner_address`: for each other, \"\" where that is the same), and the user and private key that open them."
  type = map(object({
    duty          = string
    address       = string
    inner_address = optional(string, "")
    user          = string
    port          = number
    key_file      = string
    data_dir      = string
  }))
}
