"""Prepares weights for serving, once: graphs, precisions, gates. Most of it needs torch."""
