variable "hosts" {
  description = "Hosts to use, by name: where they are, and the user and private key that open them."
  type = map(object({
    duty     = string
    address  = string
    user     = string
    port     = number
    key_file = string
    data_dir = string
  }))
}
