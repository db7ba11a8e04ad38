"""Parse requests: bodies, files, queries, refusals."""
