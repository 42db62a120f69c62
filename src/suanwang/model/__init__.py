"""The language: resources, references, units, errors, and the registry of kinds."""
