"""Indexes of words in a folder: of texts, and of the names of assets."""
