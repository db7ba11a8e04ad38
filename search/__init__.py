"""Search by text, image, sound and video: the engine, its types, and the stores.

>>> from search import Query, SearchEngine, open_store
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.deadline import Deadline
    from search.engine import SearchEngine
    from search.query.query import Query, Term
    from search.query.terms import ItemEncoder
    from search.store.open import open_store
    from search.types import Explanation, Hit, SearchResult, TermScore, as_json

_HOMES = {
    "Deadline": "deadline",
    "Explanation": "types",
    "Hit": "types",
    "ItemEncoder": "query.terms",
    "Query": "query.query",
    "SearchEngine": "engine",
    "SearchResult": "types",
    "Term": "query.query",
    "TermScore": "types",
    "as_json": "types",
    "open_store": "store.open",
}
__all__ = [
    "Deadline",
    "Explanation",
    "Hit",
    "ItemEncoder",
    "Query",
    "SearchEngine",
    "SearchResult",
    "Term",
    "TermScore",
    "as_json",
    "open_store",
]


def __getattr__(name: str) -> Any:
    # Imported late: a command that asks a running server needs no numpy, which takes 0.1 s.
    if name in _HOMES:
        return getattr(import_module(f"search.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'search' has no attribute {name!r}")
