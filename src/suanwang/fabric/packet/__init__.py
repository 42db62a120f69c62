"""Packets through switches, one by one: queues, marks, trims, pauses, losses, and who reacts how."""
