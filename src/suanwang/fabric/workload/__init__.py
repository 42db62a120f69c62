"""Workloads: what a training step computes and sends, from a model's description or a trace, and how long it takes."""
