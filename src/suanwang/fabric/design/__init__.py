"""From a resource of kind Fabric to its networks, and all that follows from numbers alone."""
