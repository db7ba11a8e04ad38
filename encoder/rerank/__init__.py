"""A second look: a network reads a question and a text together and scores how well they match."""
