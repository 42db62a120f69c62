"""The narrow waist: the NodeProgram, the whole desired state of one node, as pure data."""
