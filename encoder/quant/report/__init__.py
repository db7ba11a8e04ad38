"""Measurements for people to read: tables, plots, progress."""
