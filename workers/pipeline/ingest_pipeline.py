"""Ingest files, folders and URLs in this process."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from threading import Semaphore
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from encoder.errors import DiskError
from ingest.config import IngestConfig
from ingest.kinds.registry import check_names
from search.store.base import VectorStore
from search.types import Labels
from workers.pipeline import retry
from workers.pipeline.calibration import Watch, alone_here
from workers.pipeline.files import WalkedFolders, files_of, shards
from workers.pipeline.identifying import nowhere
from workers.pipeline.ingest_job import IngestJob, no_facts
from workers.pipeline.library.known import KnownFiles
from workers.pipeline.library.pruning import GoneFiles, Looks
from workers.pipeline.places import File
from workers.pipeline.reports import IngestReport

if TYPE_CHECKING:
    from encoder import MultiModalEncoder

SHARDS_AT_ONCE = 2
"""Decoding and encoding of two shards use two cores; more cost memory and gain nothing."""
_POLL_S = 0.2


def _isolated() -> IngestConfig:
    return IngestConfig(isolate=True)


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
        read_pictures: whether to store what is written in pictures as text, where the model reads.
        shard_files: how many texts make a shard; fewer sounds and films do.
        calibrate: whether to calibrate the store of a model that ships no constants, once it is
            large enough.
        facts_of: tags and metadata of a file, besides what the file says.
        is_upload: whether a location belongs to an upload, which is never forgotten.
        uploaded: fetches an upload that is not on this disk, into a folder.
        watch: decides when to calibrate.
        hashes: of new files, kept from the check of what is known until their shard.
        slots: bounds how many shards are ingested at once, over all runs that share it.
        follow: the current encoder and store, if they may change; called before each part of the
            work.
    """

    encoder: MultiModalEncoder
    store: VectorStore
    config: IngestConfig = field(default_factory=_isolated)
    batch_segments: int = 64
    decode_threads: int = 2
    transcripts: bool = True
    read_pictures: bool = True
    shard_files: int = 96
    calibrate: bool = True
    facts_of: Callable[[str], Mapping[str, Any]] = no_facts
    is_upload: Callable[[str], bool] = lambda _: False
    uploaded: Callable[[str, Callable[[], Path]], Path | None] = nowhere
    watch: Watch = field(default_factory=lambda: Watch(alone_here))
    hashes: dict[File, str] = field(default_factory=dict)
    slots: Semaphore = field(default_factory=lambda: Semaphore(SHARDS_AT_ONCE))
    follow: Callable[[], tuple[MultiModalEncoder, VectorStore]] | None = None

    def run(
        self,
        paths: Sequence[str],
        *,
        labels: Labels | None = None,
        prune: bool = False,
        kinds: Sequence[str] = (),
        gone: Mapping[str, Sequence[str]] = MappingProxyType({}),
        on_report: Callable[[IngestReport], object] = lambda _: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> IngestReport:
        """Ingest files, folders and URLs.

        The list of files is never held in memory. Files that cannot be read are in the report,
        with their reasons. Stored files that are gone from a folder are no longer found.

        Args:
            paths: files, folders, URLs of the hosts in ``config.url_hosts``, and URLs of object
                stores such as ``s3://bucket/folder/``.
            labels: tags and metadata of all files, stored ones included.
            prune: remove assets from the store whose files are gone.
            kinds: names of kinds; all other files are counted as left out, and what is stored of
                them stays. By default ``config.kinds``.
            gone: files and folders that were seen to vanish, by a folder around them; see
                `forget`.
            on_report: called in this thread with the report of each part as it ends.
            stopped: ends the run early; shards under way are finished.

        Raises:
            InputError: there is no such kind.
            DiskError: the disk is full. Shards under way were finished.
        """
        check_names([*kinds, *self.config.kinds])
        total = IngestReport()

        def count(report: IngestReport) -> None:
            total.add(report)
            on_report(report)

        refused = IngestReport()
        walked = WalkedFolders(paths, self.config)
        files = files_of(paths, refused.failures.append, walked)
        rest = self._known(walked, labels or {}, prune, kinds, count, stopped).rest(files)
        groups = (group for _, group in shards(rest, self.shard_files))
        for report in self._side_by_side(groups, labels or {}, kinds, stopped):
            count(report)
        count(refused)
        if not stopped():
            count(self.forget(walked.complete(), prune, gone))
        return total

    def ingest(
        self,
        files: Sequence[str],
        begun: Callable[[Sequence[str]], set[str]] | None = None,
        labels: Labels | None = None,
        kinds: Sequence[str] = (),
    ) -> IngestReport:
        """Ingest the files of one shard; see `workers.pipeline.ingest_job.IngestJob.run`."""
        return self._job(kinds).run(files, begun, labels)

    def _job(self, kinds: Sequence[str]) -> IngestJob:
        chosen = {"kinds": tuple(kinds)} if kinds else {}
        return IngestJob(
            *self.parts(),
            self.config.model_copy(update=chosen),
            batch_segments=self.batch_segments,
            decode_threads=self.decode_threads,
            transcripts=self.transcripts,
            read_pictures=self.read_pictures,
            facts_of=self.facts_of,
            uploaded=self.uploaded,
            hashes=self.hashes,
        )

    def forget(
        self,
        folders: Sequence[str],
        prune: bool,
        gone: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> IngestReport:
        """Forget stored files that are gone; see `workers.pipeline.library.pruning`.

        Args:
            folders: that are looked through.
            prune: remove assets without any file left.
            gone: places by folder; only these places of the folder are checked.
        """
        return self._gone(prune).forget(folders, gone)

    def _known(
        self,
        walked: WalkedFolders,
        labels: Labels,
        prune: bool,
        kinds: Sequence[str],
        on_report: Callable[[IngestReport], object],
        stopped: Callable[[], bool],
    ) -> KnownFiles:
        def looks() -> Sequence[Looks]:
            return self._gone(prune).looks(walked.complete())

        return KnownFiles(lambda: self._job(kinds), looks, labels, on_report, stopped)

    def _gone(self, prune: bool) -> GoneFiles:
        _, store = self.parts()
        return GoneFiles(store, self.is_upload, prune, config=self.config)

    def calibrate_if_due(self) -> None:
        """Calibrate the store of a model that ships no constants, if it has grown enough."""
        if self.calibrate:
            self.watch.after_shard(*self.parts())

    def parts(self) -> tuple[MultiModalEncoder, VectorStore]:
        """The current encoder and store."""
        return self.follow() if self.follow else (self.encoder, self.store)

    def _side_by_side(
        self,
        groups: Iterable[Sequence[str]],
        labels: Labels,
        kinds: Sequence[str],
        stopped: Callable[[], bool],
    ) -> Iterator[IngestReport]:
        """Reports of shards as they end. One shard waits, ready for the next free thread."""
        waiting: dict[Future[IngestReport], Sequence[str]] = {}
        refused: list[DiskError] = []

        def ended(at_most: int) -> Iterator[IngestReport]:
            while len(waiting) > at_most:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    try:
                        yield _report_of(future, waiting.pop(future))
                    except DiskError as error:
                        refused.append(error)

        with ThreadPoolExecutor(SHARDS_AT_ONCE, thread_name_prefix="ingest") as pool:
            for group in groups:
                yield from ended(SHARDS_AT_ONCE)
                if stopped() or refused:
                    break
                run = copy_context().run
                future = pool.submit(run, self._patiently, group, labels, kinds, stopped)
                waiting[future] = group
            yield from ended(0)
        self.hashes.clear()  # those left are of files that changed before their shard
        if refused:
            raise refused[0]

    def _patiently(
        self,
        files: Sequence[str],
        labels: Labels,
        kinds: Sequence[str],
        stopped: Callable[[], bool],
    ) -> IngestReport:
        """Ingest a shard; try again after a pause if the store or a connection failed."""
        for attempt in range(retry.MAX_RETRIES + 1):
            try:
                with self.slots:
                    report = self.ingest(files, labels=labels, kinds=kinds)
                break
            except Exception as error:
                if not retry.may_heal(error) or attempt == retry.MAX_RETRIES:
                    raise
                if not _pause(retry.delay_s(attempt, random.random()), stopped):
                    raise
        self.calibrate_if_due()
        return report


def _pause(seconds: float, stopped: Callable[[], bool]) -> bool:
    """Sleep; False if that was ended early."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if stopped():
            return False
        time.sleep(_POLL_S)
    return True


def _report_of(future: Future[IngestReport], files: Sequence[str]) -> IngestReport:
    """The report of a shard; one that failed as a whole is reported file by file.

    Raises:
        DiskError: the shard failed with it, and so would all that follow.
    """
    try:
        return future.result()
    except DiskError:
        raise
    except Exception as error:  # noqa: BLE001 (whatever it was, the other shards go on)
        report = IngestReport()
        for file in files:
            report.fail(file, error)
        return report
