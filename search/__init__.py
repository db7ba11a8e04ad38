"""Search by text, image, sound and video: the engine, its types, and the stores.

>>> from search import Query, SearchEngine, open_store
"""

from search.engine import ItemEncoder, SearchEngine
from search.store.open import open_store
from search.types import Hit, Query, SearchResult, as_json

__all__ = ["Hit", "ItemEncoder", "Query", "SearchEngine", "SearchResult", "as_json", "open_store"]
