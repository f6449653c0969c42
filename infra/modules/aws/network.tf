# A network of the testbed's own. Hosts need nothing from the internet, so nothing leads out of them;
# the gateway is there for the operator's SSH alone.

locals {
  # Reached by the hosts among themselves only. A test compares them with what listens there.
  inner_ports = {
    ssh         = [22, 22]
    etcd        = [2379, 2382] # clients, peers, metrics, status
    pd          = [2479, 2480]
    redis       = [6379, 6380]
    redis-bus   = [16379, 16380]
    tikv        = [20160, 20160]
    tikv-status = [20180, 20180]
    null-server = [27379, 27379] # what `soakbed calibrate` presses
  }
}

resource "aws_vpc" "testbed" {
  cidr_block = var.network_cidr
  tags       = merge(local.tags, { Name = "soakbed-${var.name}-vpc" })

  lifecycle {
    ignore_changes = [tags["soakbed:run"], tags["soakbed:destroy_after"]]
  }
}

resource "aws_subnet" "hosts" {
  vpc_id            = aws_vpc.testbed.id
  cidr_block        = var.network_cidr
  availability_zone = var.zone
  tags              = merge(local.tags, { Name = "soakbed-${var.name}-subnet" })

  lifecycle {
    ignore_changes = [tags["soakbed:run"], tags["soakbed:destroy_after"]]
  }
}

resource "aws_internet_gateway" "ssh" {
  vpc_id = aws_vpc.testbed.id
  tags   = merge(local.tags, { Name = "soakbed-${var.name}-gateway" })

  lifecycle {
    ignore_changes = [tags["soakbed:run"], tags["soakbed:destroy_after"]]
  }
}

# Answers to the operator leave by the gateway; there is no way for anybody else.
resource "aws_route_table" "ssh" {
  vpc_id = aws_vpc.testbed.id
  tags   = merge(local.tags, { Name = "soakbed-${var.name}-routes" })

  route {
    cidr_block = var.operator_cidr
    gateway_id = aws_internet_gateway.ssh.id
  }

  lifecycle {
    ignore_changes = [tags["soakbed:run"], tags["soakbed:destroy_after"]]
  }
}

resource "aws_route_table_association" "hosts" {
  subnet_id      = aws_subnet.hosts.id
  route_table_id = aws_route_table.ssh.id
}

resource "aws_security_group" "hosts" {
  name        = local.unique_name
  description = "Hosts of soakbed testbed ${var.name}: SSH from its operator, databases among themselves"
  vpc_id      = aws_vpc.testbed.id
  tags        = merge(local.tags, { Name = "soakbed-${var.name}-hosts" })

  lifecycle {
    ignore_changes = [tags["soakbed:run"], tags["soakbed:destroy_after"]]
  }
}

resource "aws_vpc_security_group_ingress_rule" "operator" {
  security_group_id = aws_security_group.hosts.id
  description       = "SSH from the operator"
  cidr_ipv4         = var.operator_cidr
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  tags              = merge(local.tags, { Name = "soakbed-${var.name}-operator" })

  lifecycle {
    ignore_changes = [tags["soakbed:run"], tags["soakbed:destroy_after"]]
  }
}

resource "aws_vpc_security_group_ingress_rule" "inner" {
  for_each = local.inner_ports

  security_group_id            = aws_security_group.hosts.id
  referenced_security_group_id = aws_security_group.hosts.id
  ip_protocol                  = "tcp"
  from_port                    = each.value[0]
  to_port                      = each.value[1]
  tags                         = merge(local.tags, { Name = "soakbed-${var.name}-${each.key}" })

  lifecycle {
    ignore_changes = [tags["soakbed:run"], tags["soakbed:destroy_after"]]
  }
}

resource "aws_vpc_security_group_ingress_rule" "echo" {
  security_group_id            = aws_security_group.hosts.id
  referenced_security_group_id = aws_security_group.hosts.id
  ip_protocol                  = "icmp"
  from_port                    = -1
  to_port                      = -1
  tags                         = merge(local.tags, { Name = "soakbed-${var.name}-echo" })

  lifecycle {
    ignore_changes = [tags["soakbed:run"], tags["soakbed:destroy_after"]]
  }
}

# Everything between the hosts, and nothing elsewhere.
resource "aws_vpc_security_group_egress_rule" "inner" {
  security_group_id            = aws_security_group.hosts.id
  referenced_security_group_id = aws_security_group.hosts.id
  ip_protocol                  = "-1"
  tags                         = merge(local.tags, { Name = "soakbed-${var.name}-out" })

  lifecycle {
    ignore_changes = [tags["soakbed:run"], tags["soakbed:destroy_after"]]
  }
}
