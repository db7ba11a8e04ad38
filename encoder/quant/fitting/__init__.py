"""Fit what is stored: batch norms, layer after layer, and all together."""
