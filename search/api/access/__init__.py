"""Keys, sessions, and access to paths."""
