"""Responses: plain values, files, the page."""
