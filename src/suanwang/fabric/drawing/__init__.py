"""Pictures of fabrics and of runs."""
