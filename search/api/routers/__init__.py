"""Endpoints by topic."""
