"""Collective operations: how they are cut into rounds of messages, what those cost, and the flows they are."""
