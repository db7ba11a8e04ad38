"""Indexes of words in a folder: of texts, and of what assets are called."""
