"""From bytes of a request to values: bodies, files, queries, refusals."""
