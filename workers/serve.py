"""Composes the API: engine, store, decoders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from encoder.types import TEXT, Item
from search.api.config import ApiConfig
from search.api.services import Services
from search.api.workbench import Workbench
from search.engine import SearchEngine
from search.latency import LatencyTracker
from workers import resources
from workers.decoding import QueryDecoder, query_config


@contextmanager
def services(config: ApiConfig) -> Iterator[Services]:
    """Open model and store once for this process, warm; close them afterwards."""
    from encoder.config import EncoderConfig

    encoder, store = resources.shared_encoder(), resources.shared_store()
    encoder.encode_items([Item(TEXT, "warm")])
    limits = query_config(
        resources.ingest_config(), max_bytes=config.max_query_bytes, max_s=config.max_query_s
    )
    workbench = Workbench(config.threads, config.queue, config.timeout_s)
    try:
        yield Services(
            config,
            SearchEngine(encoder, store),
            encoder,
            store,
            QueryDecoder(limits),
            workbench,
            LatencyTracker(),
            EncoderConfig().model,
        )
    finally:
        workbench.close()
        resources.close()
