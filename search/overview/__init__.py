"""Overview of the assets that pass a filter: counts, and the order of their dates."""
