"""Connections: their number, their pace, and the limit of open files."""
