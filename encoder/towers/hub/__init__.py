"""Towers over a hub model in torch."""
