"""The engine of a process that answers searches: warm, cached, batched with concurrent queries."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from encoder.system.allocator import give_back
from encoder.types import QUERY, TEXT, Item, Modality
from search.engine import SearchEngine
from search.query.query_encoder import QueryEncoder
from search.query.terms import ItemEncoder

if TYPE_CHECKING:
    from encoder import MultiModalEncoder
    from search.api.config import ApiConfig
    from search.ranking.second_look import Reranker
    from search.store.base import VectorStore

Observe = Callable[[Modality, int], None]
"""Called with the modality and the size of each batch of queries."""


def open_engine(
    model: MultiModalEncoder,
    store: VectorStore,
    config: ApiConfig,
    observe: Observe,
    reranker: Reranker | None = None,
) -> tuple[SearchEngine, QueryEncoder]:
    """An engine over a store, for the caller to close, and its encoder of queries."""
    encoder = _batched(model.home, config, observe)
    encoders = {
        lane: _batched(lane, config, observe) for lane in dict.fromkeys(model.lanes.values())
    }
    lanes = {modality: encoders[lane] for modality, lane in model.lanes.items()}
    engine = SearchEngine(encoder, store, reranker=reranker, lanes=lanes)
    engine.prepare()
    return engine, encoder


def _batched(encoder: ItemEncoder, config: ApiConfig, observe: Observe) -> QueryEncoder:
    return QueryEncoder(
        encoder,
        max_items=config.batch_items,
        cache_bytes=config.embedding_cache_bytes,
        observe=observe,
    )


def warm_up_texts(model: MultiModalEncoder) -> None:
    """Load what the first question would wait for."""
    for lane in (model.home, *model.lanes.values()):
        if TEXT in lane.modalities:
            lane.encode_items([Item(TEXT, "ready", QUERY)])


@contextmanager
def frozen() -> Iterator[None]:
    """Hide imported objects from the garbage collector until the block ends.

    Scanning them takes 110 ms, during which every request waits, and happens about once in a
    hundred requests.
    """
    gc.collect()
    give_back()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
