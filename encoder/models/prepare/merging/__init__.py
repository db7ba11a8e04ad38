"""A hub model's text network with a gate as a graph, and the facts about it."""
