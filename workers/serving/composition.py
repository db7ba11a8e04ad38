"""Composes the API: engine, store, decoders, uploads and jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import replace
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.errors import AnymodalError
from encoder.media.image import webp_bytes
from encoder.types import IMAGE, QUERY, TEXT, Item
from search.api.access.auth import access_for
from search.api.access.keys import KeyRing, Sessions
from search.api.bounded_threads import Workbench
from search.api.metrics import Metrics
from search.api.responses.thumbnails import Stored, Thumbnails
from search.api.services import Services
from search.engine import SearchEngine
from search.latency import LatencyTracker
from search.query.query import Query
from search.query.query_encoder import QueryEncoder
from search.store.open import admits_others, is_on_server
from search.uploads.adoption import adopt
from workers.jobs.local import LocalJobs
from workers.observe.metrics import REGISTRY
from workers.serving.data_folder import keys_path, sessions_path
from workers.serving.engines import frozen, open_engine, warm_up_texts
from workers.serving.query_media import QueryDecoder, kind_offers, query_config
from workers.serving.resources import Resources
from workers.serving.search_pool import SearchPool

if TYPE_CHECKING:
    from encoder import MultiModalEncoder
    from search.jobs import Jobs


logger = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
"""How often a server looks whether its store has another model."""
_AGAIN_S = 30.0
_MARGIN_S = 5.0


@contextmanager
def services(resources: Resources, n_processes: int = 1) -> Iterator[Services]:
    """Open and warm up model and store once for this process; close them afterwards.

    Args:
        resources: of this process.
        n_processes: how many may answer queries, if the store is in a folder.
    """
    config = resources.settings.api
    access = access_for(config, KeyRing(keys_path(config)))
    metrics = Metrics()
    with ExitStack() as stack:
        stack.callback(resources.close)
        model, store = resources.encoder(), resources.store()
        files = resources.ingest_config
        limits = query_config(files, max_bytes=config.max_query_bytes, max_s=config.max_query_s)
        decoder = QueryDecoder(limits, files)
        warm_up(model, decoder)
        thumbnails = Thumbnails(
            resources.uploads.folder / "thumbnails", config.thumbnail_cache_bytes
        )
        jobs = stack.enter_context(closing(_jobs(resources)))
        if not store.read_only:
            # what earlier processes left next to the store; with a broker, pending uploads are jobs
            resources.uploads.sweep()
            adopt(resources.uploads, store)
            stack.enter_context(sweeping(thumbnails, store.assets))
            if isinstance(jobs, LocalJobs):
                jobs.resume()
                metrics.join(REGISTRY)
        workbench = Workbench(config.threads, config.queue, config.timeout_s)
        stack.callback(workbench.close)
        metrics.watch("anymodal_requests_taken", "Requests running or waiting.", workbench.taken)
        stack.enter_context(frozen())
        reranker = resources.reranker()
        engine, encoder = open_engine(model, store, config, metrics.encoded, reranker)
        uri = resources.settings.store
        is_shared = admits_others(uri) and not (is_on_server(uri) or store.read_only)
        n_more = n_processes - 1 if is_shared else 0
        searches = _pool(resources, engine, encoder, metrics, n_more)
        stack.callback(searches.close)
        yield Services(
            config=config,
            access=access,
            sessions=Sessions(sessions_path(), config.session_s),
            engine=engine,
            searches=searches,
            encoder=encoder,
            store=store,
            decoder=decoder,
            workbench=workbench,
            latency=LatencyTracker(),
            metrics=metrics,
            uploads=resources.uploads,
            jobs=jobs,
            thumbnails=thumbnails,
            stopping=Event(),
            **_of_model(model),
            reranker=reranker,
        )


def sweeping(thumbnails: Thumbnails, stored: Stored) -> AbstractContextManager[None]:
    """Sweep thumbnails in a thread: it asks the store so often that the start would wait for it."""

    def sweep(until: Event) -> None:
        try:
            thumbnails.sweep(stored, until)
        except (AnymodalError, OSError) as error:
            logger.warning("thumbnails of deleted assets stay until the next start: %s", error)

    return _thread("thumbnails", sweep)


def following(
    resources: Resources, parts: Services, serve: Callable[[Services], object]
) -> AbstractContextManager[None]:
    """Follow the store to another model until the block ends, without a request that fails.

    The new model and its space are opened and warmed up first, then ``serve`` gives them to
    requests; those under way finish on the old ones, which are closed after a request's time limit.
    """
    if resources.settings.store == "memory:":
        return nullcontext()
    return _thread("following", partial(_follow, resources, parts, serve))


@contextmanager
def _thread(name: str, run: Callable[[Event], None]) -> Iterator[None]:
    """Run a thread beside the block, at whose end its event is set and it is waited for."""
    ended = Event()
    thread = Thread(target=run, args=(ended,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(
    resources: Resources, parts: Services, serve: Callable[[Services], object], ended: Event
) -> None:
    pause_s = LOOK_EVERY_S
    while not ended.wait(pause_s):
        pause_s = LOOK_EVERY_S
        try:
            if not resources.is_left_behind(resources.encoder()):
                continue
            other = Resources(resources.settings)
            new_parts = moved(other, parts)
            former_store, former_parts, parts = resources.adopt(other), parts, new_parts
            serve(parts)
            logger.warning("searches now use %s", parts.model)
            ended.wait(parts.config.timeout_s + _MARGIN_S)
            former_parts.searches.close()
            with suppress(AnymodalError):
                if former_store is not None:
                    former_store.close()
        except Exception as error:  # the old space is still there
            is_known = isinstance(error, AnymodalError)
            logger.error(
                "cannot follow the store to its new model: %s", error, exc_info=not is_known
            )
            pause_s = _AGAIN_S


def moved(resources: Resources, parts: Services) -> Services:
    model, store = resources.parts()
    warm_up_texts(model)
    metrics = parts.metrics
    engine, encoder = open_engine(model, store, parts.config, metrics.encoded, parts.reranker)
    if TEXT in model.modalities:  # reads the word indexes, before a request waits for them
        engine.search(Query([Item(TEXT, "ready", QUERY)]))
    return replace(
        parts,
        engine=engine,
        searches=_pool(resources, engine, encoder, metrics, parts.searches.n_more),
        encoder=encoder,
        store=store,
        **_of_model(model),
    )


def _pool(
    resources: Resources,
    engine: SearchEngine,
    encoder: QueryEncoder,
    metrics: Metrics,
    n_more: int,
) -> SearchPool:
    """The engine, with other processes beside it that count as one with this."""
    pool = SearchPool(engine, resources.settings, encoder.model, n_more, metrics.encoded)
    for name, meaning, value in (
        ("hits", "Queries whose embedding was cached.", lambda: encoder.cache.hits + pool.n_cached),
        ("misses", "Queries that were encoded.", lambda: encoder.cache.misses + pool.n_encoded),
    ):
        metrics.watch(f"anymodal_query_cache_{name}", meaning, value)
    return pool


def _of_model(model: MultiModalEncoder) -> dict[str, Any]:
    """The parts that change with the model, besides the engine's."""
    hears = bool(model.services.speech) and TEXT in model.modalities
    return {
        "tokens": model,
        "warm": lambda: warm_up_texts(model),
        "modalities": sorted(map(str, model.modalities)),
        "transcribe": model.services.transcribe if hears else None,
        "kinds": kind_offers(model.modalities),
        "model": model.model,
    }


def warm_up(encoder: MultiModalEncoder, decoder: QueryDecoder) -> None:
    """Load what the first texts and pictures would wait for.

    What hears is loaded by the first sound, in .4 CPU-s: it takes 60 MB that many never use.
    """
    warm_up_texts(encoder)
    black = np.zeros((64, 64, 3), np.uint8)
    # a tokenizer may load all its pieces only for a long text
    for modality, content in ((TEXT, "ready " * 64), (IMAGE, black)):
        if modality in encoder.modalities:
            encoder.encode_items([Item(modality, content, QUERY)])
    decoder.decode(IMAGE, webp_bytes(black, 64), "warm-up")


def _jobs(resources: Resources) -> Jobs:
    if resources.settings.broker.startswith("memory:"):
        return LocalJobs(resources.pipeline(), resources.uploads)
    from workers.jobs.broker import check_broker  # imports Celery
    from workers.jobs.redis import RedisJobs

    check_broker()
    return RedisJobs(resources.impatient_board, resources.settings, resources.board)
