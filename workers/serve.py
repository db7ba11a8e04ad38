"""Composes the API: engine, store, decoders, uploads and jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event

from encoder.types import TEXT, Item
from search.api.config import ApiConfig
from search.api.services import Services
from search.api.workbench import Workbench
from search.engine import SearchEngine
from search.latency import LatencyTracker
from search.lru import ByteCache
from search.uploads import UploadFolder
from workers import resources
from workers.config import Settings
from workers.decoding import QueryDecoder, query_config
from workers.local_jobs import LocalJobs
from workers.shared_jobs import SharedJobs
from workers.upload_folder import shared_uploads


@contextmanager
def services(config: ApiConfig) -> Iterator[Services]:
    """Open model and store once for this process, warm; close them afterwards."""
    from encoder.config import EncoderConfig

    with ExitStack() as stack:
        stack.callback(resources.close)
        encoder, store = resources.shared_encoder(), resources.shared_store()
        encoder.encode_items([Item(TEXT, "warm")])
        files = resources.ingest_config()
        limits = query_config(files, max_bytes=config.max_query_bytes, max_s=config.max_query_s)
        uploads = shared_uploads()
        jobs = stack.enter_context(_jobs(uploads))
        workbench = Workbench(config.threads, config.queue, config.timeout_s)
        stack.callback(workbench.close)
        yield Services(
            config,
            SearchEngine(encoder, store),
            encoder,
            store,
            QueryDecoder(limits, files),
            workbench,
            LatencyTracker(),
            uploads,
            jobs,
            ByteCache(config.thumbnail_cache_bytes, len),
            Event(),
            EncoderConfig().model,
        )


@contextmanager
def _jobs(uploads: UploadFolder) -> Iterator[LocalJobs | SharedJobs]:
    """On the broker, or by a worker in this process."""
    with ExitStack() as stack:
        made: LocalJobs | SharedJobs
        if Settings().broker.startswith("memory:"):
            from workers.embedded import embedded_worker

            stack.enter_context(embedded_worker())
            made = LocalJobs(uploads)
        else:
            from workers.broker import check_broker
            from workers.messages import impatient_board

            check_broker()
            made = SharedJobs(impatient_board(), uploads)
        stack.callback(made.close)
        yield made
