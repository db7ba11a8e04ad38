"""How well models find what belongs to a query, on a user's own files."""
