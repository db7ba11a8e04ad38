"""A bit width for each layer, under a size or a loss."""
