"""Fabrics and traffic in the formats of others: htsim, SimAI, ns-3, containerlab and InfraGraph."""
