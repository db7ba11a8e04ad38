"""Texts to embeddings: tokens, windows, sparse inference."""
