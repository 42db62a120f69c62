"""Steering: one decision problem (which endpoint, which path, how much) and its solvers."""
