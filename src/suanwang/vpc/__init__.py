"""The network inside a cloud: tenants, VPCs, subnets, ports, security groups, route tables."""
