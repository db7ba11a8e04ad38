"""What the bundles ship and was fitted on public data: constants, tables, heads."""
