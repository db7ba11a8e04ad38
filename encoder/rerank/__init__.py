"""A second look: a network that reads a question and a text together says how well they fit."""
