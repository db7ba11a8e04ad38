"""Measures which index answers well, on vectors of a store."""
