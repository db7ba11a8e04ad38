"""Fit a gate to a model and to texts, and judge it."""
