"""Connections: how many are held, how slow they may be, and what the files' limit allows."""
