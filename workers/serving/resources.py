"""What a process holds: encoder, store, boards; opened on first use, so after a fork."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from encoder.errors import DiskError
from encoder.models.lanes import canonical, chosen_models, chosen_name
from encoder.models.spec import DEFAULT_MODEL
from encoder.system.allocator import share_pools
from search.errors import (
    SpaceMismatchError,
    StoreError,
    StoreUnavailableError,
)
from search.store.lanes import Filling, StoreLanes
from search.store.open import check_store, is_on_server, open_lanes, store_target
from search.store.space_record import SearchedSpace, searched_in
from search.store.stored_spaces import open_recorded, space_record
from workers.serving.data_folder import uploads_of

if TYPE_CHECKING:
    from encoder import MultiModalEncoder
    from encoder.config import EncoderConfig
    from encoder.models.reranker import CrossEncoder
    from ingest.config import IngestConfig
    from search.store.base import VectorStore
    from search.store.locks import WriteLocks
    from search.store.space_record import SpaceRecord
    from search.uploads import UploadFolder
    from workers.config import Settings
    from workers.jobs.board import JobBoard
    from workers.pipeline.ingest_pipeline import IngestPipeline, Turns


class Resources:
    """One for each process, made where it begins. Safe in threads.

    Args:
        filling: what to fill of the lanes of the model that the settings name, beside those that
            are searched; None to search.
        counted: count what is encoded, for Prometheus.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        filling: Callable[[MultiModalEncoder], Filling] | None = None,
        counted: bool = True,
    ) -> None:
        self.settings = settings
        self._counted = counted
        self._filling = filling
        self._lock = Lock()
        self._encoder: MultiModalEncoder | None = None
        self._store: VectorStore | None = None
        self._record_lock, self._record_open = Lock(), ExitStack()
        self._record: SpaceRecord | None = None

    def encoder(self) -> MultiModalEncoder:
        """The encoder: of the model that the settings name, or of the one that made the store.

        Raises:
            ModelError: it cannot be loaded.
            StoreUnavailableError: no model is named, and the store's server does not answer.
        """
        with self._lock:
            if self._encoder is None:
                self._encoder = self._load_encoder()
            return self._encoder

    def _load_encoder(self) -> MultiModalEncoder:  # tests of faults put a tiny one here
        config, store = self.settings.encoder, self.settings.store
        return _opened_encoder(
            config, store, as_named=self._filling is not None, counted=self._counted
        )

    def model_name(self) -> str:
        """The name of the model that `encoder` opens; loads nothing.

        Raises:
            ModelError, StoreUnavailableError: as `encoder`.
        """
        config = self.settings.encoder
        return canonical(_config_of(config, _current(config, self.settings.store)).model)

    def reranker(self) -> CrossEncoder | None:
        """The reranker that the settings name, opened; prepared first if necessary.

        Raises:
            ModelError: it cannot be opened or prepared.
        """
        from encoder.prepare.reranker import open_reranker

        settings = self.settings
        return (
            open_reranker(settings.reranker, settings.encoder.n_threads)
            if settings.reranker
            else None
        )

    def unbound_encoder(self) -> MultiModalEncoder:
        """An encoder without the bindings in the settings, to bind to."""
        config = self.settings.encoder.model_copy(update={"bindings": ()})
        return _opened_encoder(config, self.settings.store)

    def encoder_beside(self, model: str) -> MultiModalEncoder:
        """An encoder of another model whose tower is to be bound."""
        from encoder import MultiModalEncoder
        from encoder.lane import config_beside

        return MultiModalEncoder(model, config=config_beside(self.settings.encoder))

    def store(self) -> VectorStore:
        """The store, opened for the encoder's space; a new one if there is none."""
        return self._open_store(create=True)

    def existing_store(self) -> VectorStore:
        """The store, for commands that need an existing one.

        Raises:
            StoreMissingError: there is none; a missing folder is reported before loading the model.
        """
        uri = self.settings.store
        if uri != "memory:" and isinstance(folder := store_target(uri), Path):
            check_store(folder)
        return self._open_store(create=False)

    def recorded_store(self) -> VectorStore:
        """The store, for commands that encode nothing: it is opened without a model.

        Raises:
            StoreMissingError: there is none.
        """
        settings = self.settings
        if settings.store == "memory:" or _is_named(settings.encoder):
            return self.existing_store()
        with self._lock:
            if self._store is None:
                self._store = open_recorded(settings.store, locks=self._locks())
            return self._store

    def parts(self) -> tuple[MultiModalEncoder, VectorStore]:
        """Encoder and store, which belong together even while `adopt` changes them."""
        self.store()
        with self._lock:
            if self._encoder and self._store:
                return self._encoder, self._store
        return self.parts()

    def existing_parts(self) -> tuple[MultiModalEncoder, VectorStore]:
        self.existing_store()
        return self.parts()

    def adopt(self, other: Resources) -> VectorStore | None:
        """Take over what another has opened; return the former store, for the caller to close."""
        encoder, store = other.parts()
        with self._lock:
            former_store, self._encoder, self._store = self._store, encoder, store
        other._encoder = other._store = None
        return former_store

    def current(self) -> SearchedSpace | None:
        """Which space of the store is searched now; None if nothing is stored.

        Raises:
            StoreUnavailableError: the store's server does not answer.
        """
        with self._record_lock:
            try:
                return self._opened_record().read()
            except StoreError:
                self._close_record()  # the next look connects again
                raise

    def follow(self) -> None:
        """Open encoder and store again, at their next use, if the store was moved."""
        with self._lock:
            encoder = self._encoder
        if encoder and self.is_left_behind(encoder):
            self.forget_store()
            with self._lock:
                self._encoder = None

    def is_left_behind(self, encoder: MultiModalEncoder) -> bool:
        """Whether the store is searched in other spaces than this encoder's."""
        current = self.current()
        return current is not None and not current.is_like(spaces_of(encoder))

    def described(self) -> dict[str, Any]:
        """The settings of the encoder that decide its spaces, for another process."""
        return {"model": self.encoder().model, **_named(self.settings.encoder)}

    @cached_property
    def ingest_config(self) -> IngestConfig:
        """How files are decoded: in child processes, unless ``ANYMODAL_INGEST__ISOLATE=false``.

        It allows all kinds, since queries and stored files are read by it too.
        """
        config = self.settings.ingest
        isolated = {} if "isolate" in config.model_fields_set else {"isolate": True}
        return config.model_copy(update={"kinds": (), **isolated})

    @cached_property
    def uploads(self) -> UploadFolder:
        return uploads_of(self.settings.store)

    @cached_property
    def board(self) -> JobBoard:
        """Jobs on the broker; waits for a broker that is away."""
        from workers.jobs.board import JobBoard

        return JobBoard.of(self.settings)

    @cached_property
    def impatient_board(self) -> JobBoard:
        """The same, but a broker that is away is an error at once."""
        from workers.jobs.board import JobBoard

        return JobBoard.of(self.settings, patience_s=0.0)

    def pipeline(self) -> IngestPipeline:
        """The pipeline over this encoder and store, as the settings say."""
        from workers.pipeline.ingest_pipeline import IngestPipeline
        from workers.pipeline.roots import Roots

        settings = self.settings
        return IngestPipeline(
            self.encoder(),
            self.store(),
            self.ingest_config.model_copy(update={"kinds": settings.ingest.kinds}),
            decode_threads=settings.decode_threads,
            transcripts=settings.transcripts,
            read_pictures=settings.read_pictures,
            shard_files=settings.shard_files,
            calibrate=settings.calibrate,
            **self._of_uploads(),
            roots=Roots.of(settings.store),
            turns=self._turns,
            follow=self.parts,
        )

    def _of_uploads(self) -> dict[str, Any]:
        """How a pipeline reads uploads: here, or from the API that took them."""
        own_uploads, settings = self.uploads, self.settings
        readers: dict[str, Any] = {
            "facts_of": own_uploads.facts_of,
            "is_upload": own_uploads.is_upload,
        }
        if not settings.uploads_url:
            return readers
        from search.uploads.remote import RemoteUploads

        far = RemoteUploads(settings.uploads_url, settings.uploads_key)
        return {
            "facts_of": lambda path: own_uploads.facts_of(path) or far.facts_of(path),
            "is_upload": lambda path: own_uploads.is_upload(path) or far.owner_of(path) is not None,
            "uploaded": far.fetch,
        }

    def close(self) -> None:
        """Close the store, if it was opened, and end the decoders."""
        if isolate := sys.modules.get("ingest.isolate"):  # not imported if nothing was decoded
            isolate.close()
        self.forget_store()
        with self._lock:
            self._encoder = None
        with self._record_lock:
            self._close_record()

    def forget_store(self) -> None:
        """Close the store, if it was opened; the next use opens it again."""
        with self._lock:
            if self._store is not None:
                with suppress(StoreError):
                    self._store.close()
            self._store = None

    def reopen_store(self) -> None:
        """Open the store again, after its server was away.

        Raises:
            StoreError: it is still away.
        """
        self.forget_store()
        self.store()

    @contextmanager
    def reopening(self) -> Iterator[None]:
        """Have the store opened again after an error in the block that may be the store's."""
        try:
            yield
        except (StoreError, DiskError):
            self.forget_store()
            raise

    @cached_property
    def _turns(self) -> Turns:
        """Shared by all that this process ingests."""
        from workers.pipeline.ingest_pipeline import SHARDS_AT_ONCE, Turns

        return Turns(SHARDS_AT_ONCE)

    def _opened_record(self) -> SpaceRecord:
        """The record, kept open: connecting to a server takes ten times as long as a look."""
        if self._record is None:
            self._record = self._record_open.enter_context(space_record(self.settings.store))
        return self._record

    def _close_record(self) -> None:
        self._record = None
        self._record_open.close()

    def _locks(self) -> WriteLocks | None:
        """The locks of a store on a server, on the broker; without one, the store has its own."""
        settings = self.settings
        is_shared = is_on_server(settings.store) and not settings.broker.startswith("memory:")
        return self.board.locks.writers if is_shared else None

    def _open_store(self, *, create: bool) -> VectorStore:
        with self._lock:
            if self._store is not None:
                return self._store
        encoder, facts = self.encoder(), self.described()
        lanes = lanes_of(encoder)
        if self._filling:
            lanes = replace(lanes, filling=self._filling(encoder))
        with self._lock:
            if self._store is None:
                try:
                    self._store = open_lanes(
                        self.settings.store,
                        lanes,
                        encoder=facts,
                        create=create,
                        index=self.settings.store__index,
                        locks=self._locks(),
                    )
                except SpaceMismatchError as error:
                    raise self._contradiction() or error from None
            return self._store

    def _contradiction(self) -> SpaceMismatchError | None:
        """What the settings name that the store's record does not say; None if nothing is."""
        config, current = self.settings.encoder, self.current()
        if current is None or not _is_of(config, current):
            return None
        if not (contradicting := _contradicting(config, current)):
            return None
        recorded = ", ".join(f"{name}={current.encoder[name]!r}" for name in contradicting)
        names = " and ".join(map(type(config).variable, contradicting))
        return SpaceMismatchError(
            f"The store was filled with {recorded}; {names} says something else.",
            remedy=f"Leave out {names}, or ingest the content again into another --store.",
        )


def _opened_encoder(
    config: EncoderConfig, store: str | None, *, as_named: bool = False, counted: bool = True
) -> MultiModalEncoder:
    from encoder import MultiModalEncoder

    share_pools()
    current = _current(config, store)
    if not as_named:
        config = _config_of(config, current)
    config = config.model_copy(update={"device": _device(config.device)})
    observer = None
    if counted:
        from workers.observe.metrics import CountedEncoder

        observer = CountedEncoder()
    return MultiModalEncoder(config=config, observer=observer)


def lanes_of(encoder: MultiModalEncoder) -> StoreLanes:
    """Where an encoder's segments are stored."""
    return StoreLanes.of(encoder.space, {m: lane.space for m, lane in encoder.lanes.items()})


def spaces_of(encoder: MultiModalEncoder) -> SearchedSpace:
    """The record of a store that is searched in an encoder's spaces."""
    return searched_in(lanes_of(encoder), {})


def config_with(config: EncoderConfig, fields: Mapping[str, Any]) -> EncoderConfig:
    """A configuration with fields of a `SearchedSpace`'s ``encoder``."""
    return type(config)(**{**config.model_dump(), **fields})


def _current(config: EncoderConfig, store: str | None) -> SearchedSpace | None:
    """What the store is searched in."""
    try:
        with space_record(store) as record:
            return record.read()
    except StoreUnavailableError:
        if not _is_named(config):
            raise
        return None  # opening the store will say so


def _config_of(config: EncoderConfig, current: SearchedSpace | None) -> EncoderConfig:
    """The configuration in the store's record, unless a third model or other settings are named."""
    if current and _is_of(config, current):
        return config_with(config, {**current.encoder, **_contradicting(config, current)})
    return config.model_copy(update={"model": _model_of(config, current)})


def _is_of(config: EncoderConfig, current: SearchedSpace) -> bool:
    """Whether no other model is requested than a store's record names."""
    return bool(current.encoder) and (not _is_named(config) or config.model in current.models)


def _is_named(config: EncoderConfig) -> bool:
    """Whether a model is requested; the settings file names those of new stores."""
    return config.model not in (DEFAULT_MODEL, chosen_name(chosen_models()))


def _named(config: EncoderConfig) -> dict[str, Any]:
    """The settings besides the model that decide a space, as a store's record has them."""
    return {
        "quantization": config.quantization,
        "enable_dsre": config.enable_dsre,
        "bindings": [str(path.absolute()) for path in config.bindings],
    }


def _contradicting(config: EncoderConfig, current: SearchedSpace) -> dict[str, Any]:
    """The settings that were named and are not the store's.

    After a move there are none, as servers keep those of the former model until they are changed.
    """
    if current.former:
        return {}
    return {
        name: value
        for name, value in _named(config).items()
        if name in config.model_fields_set & current.encoder.keys()
        and value != current.encoder[name]
    }


def _device(asked_for: str | None) -> str | None:
    """The device of this process: the processes of a worker take the machine's GPUs in turn."""
    if asked_for != "cuda":
        return asked_for
    from billiard.process import current_process

    from encoder.runtime.torch import one_gpu

    return one_gpu(asked_for, getattr(current_process(), "index", 0))


def _model_of(config: EncoderConfig, current: SearchedSpace | None) -> str:
    """The model that is requested.

    If none is: the bundle that made the store, or to which the bindings belong.
    """
    from encoder.binding.binding import read_binding
    from encoder.models.bundle.model import bundle_of

    is_chosen = current is None and config.model != DEFAULT_MODEL
    if is_chosen or _is_named(config):
        return canonical(config.model)
    bound = [read_binding(path).space for path in config.bindings]
    spaces = bound or ([current.space] if current else [])
    bundle = bundle_of(spaces, config.quantization) if spaces else None
    return bundle or canonical(config.model)
