"""Programs into Linux: netlink, nftables and routing daemons, one driver a file. Knows nothing of VPCs or tenants."""
