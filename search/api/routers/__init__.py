"""Endpoints, by what they are about."""
