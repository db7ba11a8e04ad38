"""Search by text, image, sound and video: the engine, its types, and the stores.

>>> from search import Query, SearchEngine, open_store
"""

from search.deadline import Deadline
from search.engine import SearchEngine
from search.store.open import open_store
from search.terms import ItemEncoder
from search.types import Explanation, Hit, Moment, Query, SearchResult, Term, TermScore, as_json

__all__ = [
    "Deadline",
    "Explanation",
    "Hit",
    "ItemEncoder",
    "Moment",
    "Query",
    "SearchEngine",
    "SearchResult",
    "Term",
    "TermScore",
    "as_json",
    "open_store",
]
