"""Measuring: what shall hold (Assertion), what probes found, and the figures that programs publish."""
