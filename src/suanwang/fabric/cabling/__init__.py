"""What is joined with what: the list, what LLDP hears, and the sessions that follow."""
