"""From a cross-encoder's weights to its graph."""
