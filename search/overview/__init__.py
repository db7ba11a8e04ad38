"""Overview: what a filter leaves, in counts, and in the order of its dates."""
