"""Encode together what several requests want at the same time."""
