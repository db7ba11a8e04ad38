"""Dates and places that a query names, read as filters."""
