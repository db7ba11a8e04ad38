"""A hub model's text network with a gate as a graph, and what it says of itself."""
