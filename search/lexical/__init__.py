"""Words: what a text is cut into, and an index in this process that finds them."""

from search.lexical.analysis import words
from search.lexical.index import WordIndex

__all__ = ["WordIndex", "words"]
