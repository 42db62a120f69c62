"""A whole network on one machine: namespaces, real routing daemons, emulated links."""
