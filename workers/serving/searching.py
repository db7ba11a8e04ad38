"""Run a search from the command line: from options to a result in plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search import Query
from search import as_json as result_json
from search.types import READINGS
from workers.serving.command_query import Asked, filter_of, kinds_of, quotas_of, terms_of

if TYPE_CHECKING:
    from search import SearchEngine
    from search.store.base import VectorStore
    from workers.serving.resources import Resources


def found(asked: Mapping[str, Any], engine: SearchEngine, held: Resources) -> dict[str, Any]:
    """The result as JSON (`search.types.as_json`), and what was ``searched`` if it is empty.

    Raises:
        InputError: an option cannot be understood.
        MediaError: a file cannot be read.
    """
    facts = facts_of(asked)
    store = held.store()
    query = Query(terms_of(_terms(asked), store, held.ingest_config), **facts)
    result = engine.search(query)
    looked = {} if result.hits else {"searched": _searched(held.settings.store, store, query)}
    return result_json(result) | looked


def _terms(asked: Mapping[str, Any]) -> Asked:
    texts = [" ".join(asked["words"])] if asked["words"] else []  # words split by the shell
    media = {kind: asked[kind] for kind in ("image", "audio", "video")}
    return Asked(
        [*texts, *asked["text"]], asked["unwanted"], media, asked["query_file"], asked["like"]
    )


def facts_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Everything in a query except its terms."""
    return {
        "modalities": kinds_of(asked["modality"]),
        "limit": asked["limit"],
        "filter": filter_of(asked["conditions"], asked["tags"], asked["path"], asked["kinds"]),
        "quotas": quotas_of(asked["quota"]),
        "score_threshold": asked["threshold"],
        "group_by": "segment" if asked["segments"] else "asset",
        "mix": asked["mix"],
        "moments": asked["moments"],
        "diversity": asked["diversity"],
        "lexical": asked["lexical"],
        "consistency": "strong" if asked["strong"] else "session",
        "cursor": asked["page"],
        "explain": asked["explain"],
        "sort": asked["sort"],
        "understand": () if asked["literal"] else READINGS,
    }


def _searched(uri: str | None, store: VectorStore, query: Query) -> dict[str, Any]:
    """What a query without hits covered in the store at ``uri``, so that a typo is noticed.

    ``matching_assets`` is the most assets that the filter can match; None without a filter.
    """
    from search.store.milvus.link import without_password
    from search.store.open import store_target

    return {
        "store": without_password(str(uri if uri == "memory:" else store_target(uri))),
        "assets": store.count(),
        "matching_assets": None if query.filter is None else store.count(query.filter),
        "modalities": [str(kind) for kind in query.modalities or query.quotas],
        "score_threshold": query.score_threshold,
    }
