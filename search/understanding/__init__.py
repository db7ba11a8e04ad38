"""Dates and places that a query names, and what shows them."""
