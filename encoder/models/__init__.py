"""From the name of a model to its artifact: sources, one cache, open."""
