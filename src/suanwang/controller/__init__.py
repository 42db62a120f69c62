"""Reconciling: admit, store, compile, publish. It walks the registry and knows no capability by name."""
