"""Bind towers to a space: a tower's features of an item become a vector in the texts' space."""
