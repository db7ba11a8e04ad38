"""From the name of a model to its towers: source, prepare, artifact, open."""
