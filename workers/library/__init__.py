"""A store's life: whether it is whole, and how it is mended."""
