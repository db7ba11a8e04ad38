"""Sounds to embeddings: spectrograms, labels, speech."""
