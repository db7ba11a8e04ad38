"""Bind towers to a space: what a tower makes of an item becomes a vector among those of texts."""
