"""The resources of a process, its encoder and its store, opened on first use (after a fork)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
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
    from workers.jobs.job_types import Labels
    from workers.pipeline.reports import IngestReport

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


def ingest_config_for(url_hosts: Sequence[str] | None) -> IngestConfig:
    """The same, with URLs of these hosts; None for those of the settings."""
    config = ingest_config()
    if url_hosts is None:
        return config
    return config.model_copy(update={"url_hosts": tuple(url_hosts)})


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


def ingest_shared(
    paths: Sequence[str], begun: Callable[[Sequence[str]], set[str]], labels: Labels
) -> IngestReport:
    """Ingest files with the process's model into its store, as one of several workers."""
    from workers.jobs.messages import shared_board
    from workers.pipeline.ingest_job import IngestJob
    from workers.serving.data_folder import shared_uploads

    settings = current_settings()
    job = IngestJob(
        shared_encoder(),
        shared_store(),
        ingest_config(),
        batch_segments=settings.batch_segments,
        decode_threads=settings.decode_threads,
        transcripts=settings.transcripts,
        read_pictures=settings.read_pictures,
        exclusive=shared_board().exclusive,
        facts_of=shared_uploads().facts_of,
    )
    try:
        return job.run(paths, begun, labels)
    except (StoreError, DiskError):
        forget_store()
        raise


def forget_shared(folders: Sequence[str], prune: bool) -> IngestReport:
    """Forget what is gone from folders, as one of several workers."""
    from workers.jobs.messages import shared_board
    from workers.pipeline.pruning import GoneFiles
    from workers.serving.data_folder import shared_uploads

    is_upload = shared_uploads().is_upload
    gone = GoneFiles(shared_store(), shared_board().exclusive, is_upload, prune)
    try:
        return gone.forget(folders)
    except StoreError:
        forget_store()
        raise


@cache
def _encoder() -> MultiModalEncoder:
    from encoder import MultiModalEncoder
    from workers.observe.metrics import CountedEncoder

    share_pools()
    config = current_settings().encoder
    return MultiModalEncoder(_model_of(config), config=config, observer=CountedEncoder())


def _model_of(config: EncoderConfig) -> str:
    """The model that is asked for; where that is the default, the bundle that made the store."""
    from encoder.models.spaces import bundle_of
    from encoder.models.spec import DEFAULT_MODEL, ModelSpec
    from search.store.open import stored_spaces

    if config.model != DEFAULT_MODEL:
        return config.model
    spaces = stored_spaces(current_settings().store)
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
