resource "aws_key_pair" "operator" {
  key_name   = local.unique_name
  public_key = var.public_key
  tags       = merge(local.tags, { Name = "soakbed-${var.name}-key" })

  lifecycle {
    ignore_changes = [tags["soakbed:run"], tags["soakbed:destroy_after"]]
  }
}

# Near each other: a single connection gets 10 Gbit/s inside such a group, and 5 outside.
# Source: EC2 User Guide, "Amazon EC2 instance network bandwidth".
resource "aws_placement_group" "hosts" {
  name     = local.unique_name
  strategy = "cluster"
  tags     = merge(local.tags, { Name = "soakbed-${var.name}-group" })

  lifecycle {
    ignore_changes = [tags["soakbed:run"], tags["soakbed:destroy_after"]]
  }
}

# Of another type a host is another host: stopping it for the change would empty its local disk.
resource "terraform_data" "kind" {
  for_each = var.hosts
  input    = each.value.instance_type
}

resource "aws_instance" "host" {
  for_each = var.hosts

  ami                         = terraform_data.image.output.id
  instance_type               = each.value.instance_type
  availability_zone           = var.zone
  subnet_id                   = aws_subnet.hosts.id
  vpc_security_group_ids      = [aws_security_group.hosts.id]
  associate_public_ip_address = true
  placement_group             = aws_placement_group.hosts.name
  key_name                    = aws_key_pair.operator.key_name
  tags                        = merge(local.tags, { Name = "soakbed-${var.name}-${each.key}" })

  # A host whose lease lapsed switches itself off, and by that is gone.
  instance_initiated_shutdown_behavior = "terminate"
  user_data                            = templatefile("${path.module}/user_data.sh.tftpl", { destroy_after = var.lease.destroy_after })

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required" # version 2 alone
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = var.boot_disk_gb
    encrypted             = true
    delete_on_termination = true
    tags                  = merge(local.tags, { Name = "soakbed-${var.name}-${each.key}-boot" })
  }

  dynamic "instance_market_options" {
    for_each = var.spot ? ["spot"] : []
    content {
      market_type = "spot"
      spot_options {
        spot_instance_type             = "one-time"
        instance_interruption_behavior = "terminate"
      }
    }
  }

  lifecycle {
    # The first lease stands in user_data; a new one, or a new script, is no reason to stop a host.
    ignore_changes = [
      user_data,
      tags["soakbed:run"], tags["soakbed:destroy_after"],
      root_block_device[0].tags["soakbed:run"], root_block_device[0].tags["soakbed:destroy_after"],
    ]
    replace_triggered_by = [terraform_data.kind[each.key]]

    postcondition {
      condition     = self.public_ip != ""
      error_message = "Host ${each.key} (${self.id}) has no address that the operator can reach; AWS may have ended it already. Provision again, or tear the testbed down."
    }
  }

  # Without its route and its rules a host cannot be reached, and takes them down last.
  depends_on = [aws_route_table_association.hosts, aws_vpc_security_group_ingress_rule.operator]
}
