"""Ingest files, folders and URLs in this process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event, Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from encoder.errors import DiskError
from encoder.types import Modality
from ingest.config import IngestConfig
from ingest.kinds.registry import check_names
from search.filters import parse_filter
from search.store.base import VectorStore
from search.store.visible import Visible
from search.types import IngestRequest, Labels, Prune
from workers.pipeline import retry
from workers.pipeline.calibration import Watch, alone_here
from workers.pipeline.files import WalkedFolders, files_of, shards
from workers.pipeline.ingest_job import IngestJob, no_facts
from workers.pipeline.known import KnownFiles
from workers.pipeline.places import File, nowhere
from workers.pipeline.pruning import GoneFiles, Looks
from workers.pipeline.reports import IngestReport
from workers.pipeline.roots import Roots

if TYPE_CHECKING:
    from encoder import MultiModalEncoder


SHARDS_AT_ONCE = 2
"""Decoding and encoding of two shards use two cores; more cost memory and gain nothing."""
_POLL_S = 0.2


class Turns:
    """Lets so many threads work at once, in the order in which they came.

    So a long file holds up no other job. A thread works in a ``with`` block and calls `offer`
    wherever it can pause.
    """

    def __init__(self, at_once: int) -> None:
        self._lock = Lock()
        self._n_free = at_once
        self._waiting: deque[Event] = deque()

    def offer(self) -> None:
        """Let the thread that has waited longest go on, if any does, and wait behind the others."""
        if self._waiting:
            self.__exit__()
            self.__enter__()

    def __enter__(self) -> None:
        mine = Event()
        with self._lock:
            if self._n_free:
                self._n_free -= 1
                return
            self._waiting.append(mine)
        mine.wait()

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._n_free += 1


@dataclass(frozen=True)
class IngestPipeline:
    """Makes files searchable: find, decode, encode, store, calibrate.

    Does what `anymodal ingest` does without a broker. Safe to repeat: what is stored already is
    not encoded again. A process uses one pipeline for a store; several threads can share it.

    Args:
        encoder: embeds the segments.
        store: takes the rows; opened for the space of ``encoder``.
        config: how files are decoded; by default in child processes.
        batch_segments: how many segments are encoded at once.
        decode_threads: how many files of a shard are decoded at once.
        transcripts: whether to store what is said in sounds and films as text.
        read_pictures: whether to store what is written in pictures as text.
        shard_files: how many texts make a shard; fewer sounds and films do.
        calibrate: whether to calibrate the store as it changes.
        facts_of: tags and metadata of a file, besides what the file says.
        is_upload: whether a location belongs to an upload, which is never forgotten.
        roots: remembers which disks the folders were on.
        uploaded: fetches an upload that is not on this disk, into a folder.
        watch: decides when to calibrate.
        hashes: of new files, kept from the check of what is known until their shard.
        turns: bounds how many shards are ingested at once, over all runs that share it.
        follow: the current encoder and store, if they may change; called before each part of the
            work.
        only: the modalities to encode; empty for all.
    """

    encoder: MultiModalEncoder
    store: VectorStore
    config: IngestConfig = field(default_factory=partial(IngestConfig, isolate=True))
    batch_segments: int = 64
    decode_threads: int = 2
    transcripts: bool = True
    read_pictures: bool = True
    shard_files: int = 96
    calibrate: bool = True
    facts_of: Callable[[str], Mapping[str, Any]] = no_facts
    is_upload: Callable[[str], bool] = lambda _: False
    roots: Roots = field(default_factory=Roots)
    uploaded: Callable[[str, Callable[[], Path]], Path | None] = nowhere
    watch: Watch = field(default_factory=lambda: Watch(alone_here))
    hashes: dict[File, str] = field(default_factory=dict)
    turns: Turns = field(default_factory=lambda: Turns(SHARDS_AT_ONCE))
    follow: Callable[[], tuple[MultiModalEncoder, VectorStore]] | None = None
    only: Set[Modality] = frozenset()

    def run(
        self,
        paths: Sequence[str],
        *,
        labels: Labels | None = None,
        prune: Prune = False,
        kinds: Sequence[str] = (),
        gone: Mapping[str, Sequence[str]] = MappingProxyType({}),
        verify: bool = False,
        within: Labels | None = None,
        on_report: Callable[[IngestReport], object] = lambda _: None,
        on_wait: Callable[[Exception], bool] = lambda _: False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> IngestReport:
        """Ingest files, folders and URLs.

        The list of files is never held in memory. Files that cannot be read are in the report,
        with their reasons. Stored files that are gone from a folder are no longer found.

        Args:
            paths: files, folders, URLs of the hosts in ``config.url_hosts``, and URLs of object
                stores such as ``s3://bucket/folder/``.
            labels: tags and metadata of all files, stored ones included.
            prune: remove assets from the store whose files have been gone for 30 days, or all whose
                files are gone; see `workers.pipeline.pruning`.
            kinds: names of kinds; all other files are counted as left out, and what is stored of
                them stays. By default ``config.kinds``.
            gone: files and folders that were seen to vanish, by a folder around them; see
                `forget`.
            verify: read files again whose size and time are as stored.
            within: a filter in plain values: nothing outside it is read, changed or made, and
                nothing is forgotten.
            on_report: called in this thread with the report of each part as it ends.
            on_wait: called with what a shard waits for, a store that is away or a full disk;
                whether to wait for as long as it takes. By default, a store is given a minute.
            stopped: ends the run early, also within a file; what was encoded to its end is stored.

        Raises:
            InputError: there is no such kind.
            DiskError: the disk is full. Shards under way were finished.
        """
        request = IngestRequest(
            paths,
            labels or {},
            prune,
            kinds,
            gone=gone,
            verify=verify,
            within=within,
        )
        return self.fulfil(request, on_report=on_report, on_wait=on_wait, stopped=stopped)

    def fulfil(
        self,
        request: IngestRequest,
        *,
        on_report: Callable[[IngestReport], object] = lambda _: None,
        on_wait: Callable[[Exception], bool] = lambda _: False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> IngestReport:
        """`run` what a request asks for, whatever its priority."""
        check_names([*request.kinds, *self.config.kinds])
        total, refused = IngestReport(), IngestReport()
        walked, patience = WalkedFolders(request.paths, self.config), _patience(on_wait, stopped)

        def count(report: IngestReport) -> None:
            total.add(report)
            on_report(report)

        def looks() -> Sequence[Looks]:
            return self._gone(request.prune).looks(walked.complete())

        known_files = KnownFiles(partial(self._job, request), looks, request.labels, count, stopped)
        unknown_files = known_files.rest(files_of(request.paths, refused.failures.append, walked))
        groups = (group for _, group in shards(unknown_files, self.shard_files))
        for report in _side_by_side(
            groups, partial(self._shard, request, patience, stopped), stopped
        ):
            count(report)
        self.hashes.clear()  # those left are of files that changed before their shard
        count(refused)
        if not stopped():
            if request.within is None:
                forget = partial(self.forget, walked.complete(), request.prune, request.gone)
                try:
                    count(retry.tried(forget, 1, patience))
                except retry.FailedError as failed:
                    raise failed.error from None
            self.calibrate_if_due(is_last=True)
        return total

    def ingest(
        self,
        request: IngestRequest,
        begun: Callable[[Sequence[str]], set[str]] | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> IngestReport:
        """Ingest the files of one shard; see `workers.pipeline.ingest_job.IngestJob.run`."""
        return self._job(request).run(request.paths, begun, request.labels, go_on)

    def _job(self, request: IngestRequest) -> IngestJob:
        chosen = {"kinds": tuple(request.kinds)} if request.kinds else {}
        within = None if request.within is None else parse_filter(request.within, "within")
        encoder, store = self.parts()
        return IngestJob(
            encoder,
            Visible(store, within) if within else store,
            self.config.model_copy(update=chosen),
            batch_segments=self.batch_segments,
            decode_threads=self.decode_threads,
            transcripts=self.transcripts,
            read_pictures=self.read_pictures,
            facts_of=self.facts_of,
            uploaded=self.uploaded,
            hashes=self.hashes,
            only=self.only,
            verify=request.verify,
        )

    def forget(
        self,
        folders: Sequence[str],
        prune: Prune,
        gone: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> IngestReport:
        return self._gone(prune).forget(folders, gone)

    def _gone(self, prune: Prune) -> GoneFiles:
        _, store = self.parts()
        return GoneFiles(store, self.is_upload, prune, config=self.config, roots=self.roots)

    def calibrate_if_due(self, *, is_last: bool = False) -> None:
        """Calibrate the store, if it has changed enough; always looked at after the last shard."""
        if self.calibrate:
            self.watch.after_shard(*self.parts(), is_last=is_last)

    def parts(self) -> tuple[MultiModalEncoder, VectorStore]:
        return self.follow() if self.follow else (self.encoder, self.store)

    def _shard(
        self,
        request: IngestRequest,
        patience: retry.Pause,
        stopped: Callable[[], bool],
        files: Sequence[str],
    ) -> IngestReport:
        """Ingest a shard as workers do: see `workers.pipeline.retry`.

        Raises:
            DiskError: the disk is full, and ``patience`` does not wait for it.
        """

        def go_on() -> bool:
            self.turns.offer()
            return not stopped()

        def work(shard_paths: Sequence[str]) -> IngestReport:
            with self.turns:
                return self.ingest(replace(request, paths=shard_paths), go_on=go_on)

        report, parts = IngestReport(), deque([files])
        while parts and not stopped():
            shard_paths = parts.popleft()
            try:
                report.add(retry.tried(partial(work, shard_paths), len(shard_paths), patience))
            except retry.FailedError as failed:
                if isinstance(failed.verdict, retry.Divide):
                    parts.extend([file] for file in shard_paths)
                elif isinstance(failed.error, DiskError) and not stopped():
                    raise failed.error from None
                elif not stopped():
                    report.fail_all(shard_paths, failed.error)
        self.calibrate_if_due()
        return report


def _side_by_side(
    groups: Iterable[Sequence[str]],
    work: Callable[[Sequence[str]], IngestReport],
    stopped: Callable[[], bool],
) -> Iterator[IngestReport]:
    """Reports of shards as they end. One shard waits, ready for the next free thread."""
    waiting: set[Future[IngestReport]] = set()
    refused: list[DiskError] = []

    def ended(at_most: int) -> Iterator[IngestReport]:
        while len(waiting) > at_most:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                waiting.remove(future)
                try:
                    yield future.result()
                except DiskError as error:
                    refused.append(error)

    with ThreadPoolExecutor(SHARDS_AT_ONCE, thread_name_prefix="ingest") as pool:
        for group in groups:
            yield from ended(SHARDS_AT_ONCE)
            if stopped() or refused:
                break
            waiting.add(pool.submit(copy_context().run, work, group))
        yield from ended(0)
    if refused:
        raise refused[0]


def _patience(on_wait: Callable[[Exception], bool], stopped: Callable[[], bool]) -> retry.Pause:
    """Waits in this thread; without end only for what ``on_wait`` wants to wait for."""

    def pause(again: retry.Again, error: Exception, attempt: int) -> bool:
        is_patient = not isinstance(error, retry.AWAY) or on_wait(error)
        gives_up = isinstance(error, DiskError) or attempt > retry.MAX_RETRIES
        if gives_up and not is_patient:
            return False
        end_s = time.monotonic() + again.delay_s
        while time.monotonic() < end_s:
            if stopped():
                return False
            time.sleep(_POLL_S)
        return True

    return pause
