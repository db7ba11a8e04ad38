"""Sounds to embeddings: spectrograms, labels, windows."""
