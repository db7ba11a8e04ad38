"""Vectors of a part in files: rows, and codes by which they are compared."""
