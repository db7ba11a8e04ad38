"""Words: the analysis of texts, and an in-process index."""

from search.lexical.analysis import holds, terms
from search.lexical.index import WordIndex

__all__ = ["WordIndex", "holds", "terms"]
