"""How far a server has built an index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search.store.milvus.link import MilvusLink


@dataclass(frozen=True)
class IndexState:
    """Rows of sealed parts, as the server counts them; one of fewer than 1,024 needs no index.

    Args:
        kind: Milvus's name for it.
        built: rows that the index has.
        pending: rows that it will get, or never gets where building fails.
    """

    kind: str
    built: int
    pending: int


def state_of(link: MilvusLink, collection: str, field: str) -> IndexState:
    """The state of a field's index. The server's "Finished" means nothing."""
    found: dict[str, Any] = link.call("describe_index", collection, field)
    return IndexState(
        found["index_type"], int(found["indexed_rows"]), int(found["pending_index_rows"])
    )
