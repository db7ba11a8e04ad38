"""Composes the API: engine, store, decoders, uploads and jobs."""

from __future__ import annotations

import gc
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
from encoder.system.allocator import give_back
from encoder.types import AUDIO, IMAGE, QUERY, TEXT, Item, Modality, Waveform
from search.api.access.auth import access_for
from search.api.access.keys import KeyRing, Sessions
from search.api.config import ApiConfig
from search.api.middleware.bounded_threads import Workbench
from search.api.middleware.metrics import Metrics
from search.api.responses.thumbnails import Stored, Thumbnails
from search.api.services import Services
from search.api.uploads.adoption import adopt
from search.engine import SearchEngine
from search.latency import LatencyTracker
from search.query.query import Query
from search.query.query_encoder import QueryEncoder
from search.query.terms import ItemEncoder
from workers.jobs.broker import check_broker
from workers.jobs.local import LocalJobs
from workers.jobs.redis import RedisJobs
from workers.observe.metrics import REGISTRY
from workers.serving.data_folder import keys_path, sessions_path
from workers.serving.query_media import QueryDecoder, kind_offers, query_config
from workers.serving.resources import Resources

if TYPE_CHECKING:
    from encoder import MultiModalEncoder
    from search.api.ports import Jobs


logger = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
"""How often a server looks whether its store has another model."""
_AGAIN_S = 30.0
_MARGIN_S = 5.0


@contextmanager
def services(resources: Resources) -> Iterator[Services]:
    """Open and warm up model and store once for this process; close them afterwards."""
    config = resources.settings.api
    access = access_for(config, KeyRing(keys_path(config)))
    metrics = Metrics()
    with ExitStack() as stack:
        stack.callback(resources.close)
        model, store = resources.encoder(), resources.store()
        encoder = query_encoder(model.home, config, metrics)
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
        engine = SearchEngine(
            encoder, store, reranker=reranker, lanes=_lanes_of(model, config, metrics)
        )
        engine.prepare()
        yield Services(
            config=config,
            access=access,
            sessions=Sessions(sessions_path(), config.session_s),
            engine=engine,
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
    is_durable = resources.settings.store != "memory:"
    run = partial(_follow, resources, parts, serve)
    return _thread("following", run) if is_durable else nullcontext()


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
            former_parts.engine.close()
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
    encoder = query_encoder(model.home, parts.config, parts.metrics)
    warm_up(model, None)
    lanes = _lanes_of(model, parts.config, parts.metrics)
    engine = SearchEngine(encoder, store, reranker=parts.reranker, lanes=lanes)
    engine.prepare()
    if TEXT in model.modalities:  # reads the word indexes, before a request waits for them
        engine.search(Query([Item(TEXT, "ready", QUERY)]))
    return replace(
        parts,
        engine=engine,
        encoder=encoder,
        store=store,
        **_of_model(model),
    )


def _of_model(model: MultiModalEncoder) -> dict[str, Any]:
    """The parts that change with the model, besides the engine's."""
    hears = bool(model.services.speech) and TEXT in model.modalities
    return {
        "tokens": model,
        "warm": lambda: warm_up(model, None),
        "modalities": sorted(map(str, model.modalities)),
        "transcribe": model.services.transcribe if hears else None,
        "kinds": kind_offers(model.modalities),
        "model": model.model,
    }


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


def _lanes_of(
    model: MultiModalEncoder, config: ApiConfig, metrics: Metrics
) -> dict[Modality, ItemEncoder]:
    """The encoders of queries for modalities that have a model of their own."""
    encoders = {
        lane: _batched(lane, config, metrics) for lane in dict.fromkeys(model.lanes.values())
    }
    return {modality: encoders[lane] for modality, lane in model.lanes.items()}


def query_encoder(encoder: ItemEncoder, config: ApiConfig, metrics: Metrics) -> QueryEncoder:
    """The encoder of queries: cached, and batched with concurrent ones."""
    batched = _batched(encoder, config, metrics)
    hits, misses = "anymodal_query_cache_hits", "anymodal_query_cache_misses"
    metrics.watch(hits, "Queries whose embedding was cached.", lambda: batched.cache.hits)
    metrics.watch(misses, "Queries that were encoded.", lambda: batched.cache.misses)
    return batched


def _batched(encoder: ItemEncoder, config: ApiConfig, metrics: Metrics) -> QueryEncoder:
    return QueryEncoder(
        encoder,
        max_items=config.batch_items,
        cache_bytes=config.embedding_cache_bytes,
        observe=metrics.encoded,
    )


def warm_up(encoder: MultiModalEncoder, decoder: QueryDecoder | None) -> None:
    """Load what the first query would wait for; without a decoder, only the model is run."""
    for lane in (encoder.home, *encoder.lanes.values()):
        if TEXT in lane.modalities:
            lane.encode_items([Item(TEXT, "ready", QUERY)])
    if decoder is None:
        return
    black = np.zeros((64, 64, 3), np.uint8)
    silence = Waveform(np.zeros(44_100, np.float32), 44_100)
    # a tokenizer may load all its pieces only for a long text
    for modality, content in ((TEXT, "ready " * 64), (IMAGE, black), (AUDIO, silence)):
        if modality in encoder.modalities:
            encoder.encode_items([Item(modality, content, QUERY)])
    decoder.decode(IMAGE, webp_bytes(black, 64), "warm-up")


def _jobs(resources: Resources) -> Jobs:
    if resources.settings.broker.startswith("memory:"):
        return LocalJobs(resources.pipeline(), resources.uploads)
    check_broker()
    return RedisJobs(resources.impatient_board, resources.settings, resources.board)
