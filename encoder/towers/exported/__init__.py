"""Towers over the graphs of a prepared hub model."""
