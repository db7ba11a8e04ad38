"""The resources of a process, its encoder and its store, opened on first use (after a fork)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock, Semaphore
from typing import TYPE_CHECKING

from encoder.errors import DiskError
from search.errors import StoreError
from workers.config import current_settings
from workers.serving.allocator import share_pools

if TYPE_CHECKING:
    from encoder import MultiModalEncoder
    from encoder.config import EncoderConfig
    from ingest.config import IngestConfig
    from search.store.base import VectorStore
    from workers.pipeline.ingest_pipeline import IngestPipeline

    Exclusive = Callable[[Iterable[str]], AbstractContextManager[None]]

_lock = Lock()
_opened: VectorStore | None = None


def shared_encoder() -> MultiModalEncoder:
    """The process's encoder: of the model that is asked for, or of the one that made the store.

    Raises:
        ModelError: it cannot be loaded.
        StoreUnavailableError: no model is asked for, and the store's server does not answer.
    """
    with _lock:
        return _encoder()


def shared_store() -> VectorStore:
    """The process's store, opened for the encoder's space; a new one if there is none."""
    encoder = shared_encoder()
    with _lock:
        return _store(encoder)


def existing_store() -> VectorStore:
    """The process's store, for commands that need an existing one.

    Raises:
        StoreMissingError: there is none; a missing folder is reported before loading the model.
    """
    from search.store.open import check_store, store_target

    uri = current_settings().store
    if uri != "memory:" and isinstance(folder := store_target(uri), Path):
        check_store(folder)
    encoder = shared_encoder()
    with _lock:
        return _store(encoder, create=False)


@cache
def ingest_config() -> IngestConfig:
    """How files are decoded: in child processes, unless ``ANYMODAL_INGEST__ISOLATE=false``."""
    config = current_settings().ingest
    asked_for = "isolate" in config.model_fields_set
    return config if asked_for else config.model_copy(update={"isolate": True})


def ingest_pipeline(
    url_hosts: Sequence[str] | None = None, exclusive: Exclusive | None = None
) -> IngestPipeline:
    """The pipeline over the process's encoder and store, as the settings say.

    Args:
        url_hosts: hosts whose URLs are fetched, instead of those of the settings.
        exclusive: holds assets alone among all who write to the store; by default among the
            threads of this process.
    """
    from workers.pipeline.ingest_job import commit_alone
    from workers.pipeline.ingest_pipeline import IngestPipeline
    from workers.serving.data_folder import shared_uploads

    settings, uploads = current_settings(), shared_uploads()
    hosts = {} if url_hosts is None else {"url_hosts": tuple(url_hosts)}
    return IngestPipeline(
        shared_encoder(),
        shared_store(),
        ingest_config().model_copy(update=hosts),
        batch_segments=settings.batch_segments,
        decode_threads=settings.decode_threads,
        transcripts=settings.transcripts,
        read_pictures=settings.read_pictures,
        shard_files=settings.shard_files,
        calibrate=settings.calibrate,
        exclusive=exclusive or commit_alone,
        facts_of=uploads.facts_of,
        is_upload=uploads.is_upload,
        slots=_slots(),
    )


@cache
def _slots() -> Semaphore:
    """Shared by all that this process ingests: uploads, and commands beside a server."""
    from workers.pipeline.ingest_pipeline import SHARDS_AT_ONCE

    return Semaphore(SHARDS_AT_ONCE)


def close() -> None:
    """Close the store, if it was opened, and end the decoders."""
    from ingest import isolate
    from workers.serving.data_folder import shared_uploads

    isolate.close()
    forget_store()
    with _lock:
        _encoder.cache_clear()
        ingest_config.cache_clear()
    shared_uploads.cache_clear()


def forget_store() -> None:
    """Close the store, if it was opened; the next use opens it again."""
    with _lock:
        global _opened
        if _opened is not None:
            with suppress(StoreError):
                _opened.close()
        _opened = None


def reopen_store() -> None:
    """Open the store again, after its server was away: a Lite server forgets what was loaded.

    Raises:
        StoreError: it is still away.
    """
    forget_store()
    shared_store()


@contextmanager
def reopening() -> Iterator[None]:
    """Have the store opened again after an error of the block that may be its own."""
    try:
        yield
    except (StoreError, DiskError):
        forget_store()
        raise


@cache
def _encoder() -> MultiModalEncoder:
    return _opened_encoder(current_settings().encoder)


def unbound_encoder() -> MultiModalEncoder:
    """An encoder without the bindings of the settings, to bind to."""
    return _opened_encoder(current_settings().encoder.model_copy(update={"bindings": ()}))


def encoder_beside(model: str) -> MultiModalEncoder:
    """An encoder of another model, whose tower is to be bound."""
    from encoder import MultiModalEncoder
    from encoder.models.bound import precision_beside

    config = current_settings().encoder
    update = {"bindings": (), "quantization": precision_beside(config.quantization)}
    return MultiModalEncoder(model, config=config.model_copy(update=update))


def _opened_encoder(config: EncoderConfig) -> MultiModalEncoder:
    from encoder import MultiModalEncoder
    from workers.observe.metrics import CountedEncoder

    share_pools()
    config = config.model_copy(update={"device": _device(config.device)})
    return MultiModalEncoder(_model_of(config), config=config, observer=CountedEncoder())


def _device(asked_for: str | None) -> str | None:
    """The device of this process: the processes of a worker take the machine's GPUs in turn."""
    if asked_for != "cuda":
        return asked_for
    from billiard.process import current_process

    from encoder.runtime.torch import one_gpu

    return one_gpu(asked_for, getattr(current_process(), "index", 0))


def _model_of(config: EncoderConfig) -> str:
    """The model that is asked for; where that is the default, the bundle that made the store, or to
    which the bindings belong."""
    from encoder.binding.binding import read_binding
    from encoder.models.spaces import bundle_of
    from encoder.models.spec import DEFAULT_MODEL, ModelSpec
    from search.store.open import stored_spaces

    if config.model != DEFAULT_MODEL:
        return config.model
    bound = [read_binding(path).space for path in config.bindings]
    spaces = bound or stored_spaces(current_settings().store)
    made = bundle_of(spaces, config.quantization, config.enable_dsre) if spaces else None
    return made or str(ModelSpec.parse(config.model))


def _store(encoder: MultiModalEncoder, *, create: bool = True) -> VectorStore:
    global _opened
    if _opened is None:
        from search.store.open import open_store

        space = encoder.space
        _opened = open_store(
            current_settings().store,
            space.fingerprint,
            space.embed_dim,
            calibration=space.calibration,
            create=create,
        )
    return _opened
