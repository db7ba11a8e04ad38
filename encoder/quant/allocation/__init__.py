"""A bit width for each layer, within a size or a loss."""
