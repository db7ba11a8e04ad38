"""Move a store to another model while it stays searchable."""
