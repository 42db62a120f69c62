"""The process on a node: it receives the node's program, brings the kernel to it, probes, and reports."""
