"""Words: what a text is cut into, and an index in this process that finds them."""

from search.lexical.analysis import holds, terms
from search.lexical.index import WordIndex

__all__ = ["WordIndex", "holds", "terms"]
