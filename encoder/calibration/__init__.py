"""Measures the constants that make the cosines of a space comparable, without labels."""
