"""Fabrics: networks of AI clusters and data centres, designed, simulated, routed and configured."""
