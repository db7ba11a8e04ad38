"""Reuse decoder processes: starting one takes as long as decoding a hundred pictures."""

from __future__ import annotations

import atexit
import os
from base64 import b64encode
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from tempfile import gettempdir
from threading import Condition
from time import monotonic
from typing import Any, TypeVar

from encoder.types import AUDIO, VIDEO
from ingest.config import IngestConfig
from ingest.isolate import wire
from ingest.isolate.kernel_limits import Confinement, area_of
from ingest.isolate.process import DecoderProcess
from ingest.isolate.wire import Message
from ingest.kinds import registry
from ingest.kinds.contract import Place
from ingest.kinds.reading import Clock, Header
from ingest.kinds.registry import Candidate, kinds
from ingest.types import Asset, Segment

T = TypeVar("T")

_FILES_PER_PROCESS = 1000
"""Decoders leak memory; a process is replaced after this many files."""
_PATIENCE_S = 1.0
"""Starting a process takes 0.8 CPU-seconds, and most files are decoded in less."""


class DecoderPool:
    """Idle processes, started on demand.

    Args:
        n_cores: once this many processes are busy, a file waits for one of them.
        patience_s: how long it waits. Then it gets a new process, since each of the others may be
            decoding a film, or waiting for the consumer that needs this file.
    """

    def __init__(self, n_cores: int, patience_s: float = _PATIENCE_S) -> None:
        self._n_cores = n_cores
        self._patience_s = patience_s
        self._idle: list[DecoderProcess] = []
        self._n_lent = 0
        self._changed = Condition()

    @contextmanager
    def lent(self, memory_bytes: int, path: Path) -> Iterator[DecoderProcess]:
        """A process for one file; ended if it is still busy afterwards."""
        home = os.path.expanduser("~")  # noqa: PTH111 (pathlib's raises)
        area = area_of(path, _resolved(gettempdir()), _resolved(home))
        taken = self._take(memory_bytes, area)
        process = None
        try:
            process = taken or DecoderProcess(memory_bytes, area)
            yield process
        finally:
            is_spent = process is None or process.is_busy or process.n_files >= _FILES_PER_PROCESS
            if process and is_spent:
                process.end()
            with self._changed:
                self._n_lent -= 1
                if process and not is_spent:
                    self._idle.append(process)
                self._changed.notify_all()

    def close(self) -> None:
        """End the idle processes."""
        with self._changed:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()

    def forget(self) -> None:
        """In a forked process: forget the parent's processes."""
        self._changed = Condition()
        self._n_lent = 0
        idle, self._idle = self._idle, []
        for process in idle:
            process.forget()

    def _take(self, memory_bytes: int, area: Path) -> DecoderProcess | None:
        """An idle process, or None for a new one; either counts as lent."""
        until_s = monotonic() + self._patience_s
        with self._changed:
            while not (fitting := self._fitting(memory_bytes, area)):
                left_s = until_s - monotonic()
                if self._n_lent < self._n_cores or left_s <= 0:
                    break
                self._changed.wait(left_s)
            if not fitting and len(self._idle) >= self._n_cores:
                self._idle.pop(0).end()  # of another area: they would add up
            self._n_lent += 1
            return fitting

    def _fitting(self, memory_bytes: int, area: Path) -> DecoderProcess | None:
        """Take out a process that is idle and alive."""
        limits = (memory_bytes, area)
        for process in [p for p in reversed(self._idle) if (p.memory_bytes, p.area) == limits]:
            self._idle.remove(process)
            if process.is_alive:
                return process
            process.end()
        return None


_pool = DecoderPool(max(2, len(os.sched_getaffinity(0))))
close = _pool.close
atexit.register(_pool.close)
os.register_at_fork(after_in_child=_pool.forget)


@lru_cache(maxsize=8)
def _resolved(folder: str) -> Path:
    """A folder without links; looked at once, as each file asks for the same two."""
    return Path(folder).resolve()


def sniff(head: bytes, path: Path, wanted: str, config: IngestConfig) -> tuple[Candidate, ...]:
    """As `ingest.kinds.registry.sniff`, in a decoder process if a kind is another package's."""
    if not any(kind.made_by for kind in kinds()):
        return registry.sniff(head, str(path), wanted)
    request = {"sniffs": b64encode(head).decode(), "wanted": wanted}
    return _ask(path, request, config, wire.candidates_from_message)


def read_header(
    path: Path, candidates: Sequence[Candidate], size_bytes: int, config: IngestConfig
) -> Header:
    """As `ingest.kinds.reading.read_header`, in a decoder process."""
    kinds = [(candidate.kind.name, candidate.media_type) for candidate in candidates]
    request = {"candidates": kinds, "size_bytes": size_bytes}
    return _ask(path, request, config, wire.header_from_message)


def _ask(
    path: Path, what: Mapping[str, Any], config: IngestConfig, parse: Callable[[Message], T]
) -> T:
    """The one answer to a question about a file's header."""
    request = {**what, "config": wire.config_to_json(config), "uri": str(path)}
    clock = Clock(str(path), config)
    with _pool.lent(config.max_memory_bytes, path) as process:
        (answer,) = process.ask(request, clock, parse, 2 * config.max_decode_s)
    return answer


def confinement(config: IngestConfig) -> Confinement:
    """What the kernel of this machine keeps decoder processes from."""
    with _pool.lent(config.max_memory_bytes, Path(gettempdir(), "any").resolve()) as process:
        return process.confinement


def picture(asset: Asset, place: Place, config: IngestConfig) -> Segment:
    """As `ingest.picture`, in a decoder process."""
    (preview,) = _ask_for_segments(asset, {"place": asdict(place)}, config)
    return preview


def segments(asset: Asset, config: IngestConfig) -> Generator[Segment, None, None]:
    """As `ingest.segments`, in a decoder process."""
    return _ask_for_segments(asset, {}, config)


def _ask_for_segments(
    asset: Asset, what: Mapping[str, Any], config: IngestConfig
) -> Generator[Segment, None, None]:
    plays_s = asset.duration_s
    unknown = asset.modality in (AUDIO, VIDEO) and not plays_s
    request = {
        **what,
        "uri": asset.uri,
        "asset": vars(asset),  # `asdict` would copy its metadata
        "config": wire.config_to_json(config),
    }
    # Twice, since two streams are decoded at once. It is a backstop behind the clock.
    cpu_s = 2 * (config.max_decode_s + (config.max_duration_s if unknown else plays_s))
    clock = Clock(asset.uri, config, plays_s)
    with _pool.lent(config.max_memory_bytes, Path(asset.path or asset.uri)) as process:
        answers = process.ask(
            request, clock, lambda answer: wire.segment_from_message(answer, asset.asset_id), cpu_s
        )
        waiting = next(answers, None)
        for segment in answers:
            if waiting:
                yield waiting
            waiting = segment
    if waiting:  # its process is free for other files by now
        yield waiting
