"""Move a store to another model while it is searched."""
