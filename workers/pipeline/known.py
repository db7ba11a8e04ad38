"""Files whose content is stored, as after a rename: noted once, and by the thousand.

Shards are small, since they are decoded and encoded. What is stored already needs neither. In a
shard, it would need a write for each shard, and another for its former place, which a shard does
not know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from encoder.errors import AnymodalError
from ingest.sources.objects import is_object
from ingest.sources.remote import is_url
from search.types import AssetRow, Labels
from workers.pipeline.identifying import Identifying
from workers.pipeline.ingest_job import IngestJob
from workers.pipeline.places import Located, Places
from workers.pipeline.pruning import Looks
from workers.pipeline.reports import IngestReport, WatchedReport

logger = logging.getLogger(__name__)

MOST_FILES = 4096
"""The most files noted at once; the rows of this many take some 10 MB."""
_MOST_BYTES = 256 * 2**20
"""The most bytes read before anything is noted: what is not stored waits for it."""
_AT_ONCE = 256


@dataclass
class _Part:
    """Files that were checked, and what still has to be done with them."""

    stored: Located = field(default_factory=Located)
    rest: list[str] = field(default_factory=list)
    n_bytes: int = 0

    @property
    def is_full(self) -> bool:
        n_files = len(self.rest) + sum(map(len, self.stored.assets.values()))
        return n_files >= MOST_FILES or self.n_bytes >= _MOST_BYTES


@dataclass(frozen=True)
class KnownFiles:
    """Takes files whose content is stored out of a stream.

    Args:
        job: the work on a part, with the current encoder and store.
        looks: how to look for former places, in the folders that may lose some at the moment.
        labels: tags and metadata of all files.
        on_report: takes the report of each part.
        stopped: ends it early.
    """

    job: Callable[[], IngestJob]
    looks: Callable[[], Sequence[Looks]]
    labels: Labels
    on_report: Callable[[IngestReport], object]
    stopped: Callable[[], bool]

    def rest(self, files: Iterable[str]) -> Iterator[str]:
        """The others, including all URLs and objects.

        Stored files that came before a file are noted before it is yielded. So contents that change
        places are found at the new ones before other contents take the former ones.
        """
        if not self._has_any():
            yield from files
            return
        here = list[str]()
        part = _Part()
        for path in files:
            if self.stopped():
                return
            if is_url(path) or is_object(path):
                yield path
                continue
            here.append(path)
            if len(here) == _AT_ONCE:
                self._look(here, part)
                here.clear()
                if part.is_full:
                    yield from self._noted(part)
                    part = _Part()
        self._look(here, part)
        yield from self._noted(part)

    def _has_any(self) -> bool:
        try:
            store = self.job().store
            return not store.read_only and bool(store.count())
        except AnymodalError:  # the shards report it
            return False

    def _look(self, paths: Sequence[str], part: _Part) -> None:
        """Count the files that are as stored, and add the others to a part."""
        job, report = self.job(), WatchedReport()
        with ExitStack() as scratch:
            identifying = Identifying(job.config, scratch, report.fail)
            try:
                with report.timed("identify"):
                    known = Places(job.store, identifying, job.hashes).known(paths)
            except AnymodalError as error:
                logger.info("files are checked again: %s", error)
                part.rest += paths
                return
        for copies in known.as_stored.assets.values():
            if self.labels:
                known.elsewhere.assets[copies[0].asset_id] += copies
            else:
                report.unchanged += len(copies)
        for asset_id, copies in known.elsewhere.assets.items():
            part.stored.assets[asset_id] += copies
        part.rest += known.rest
        part.n_bytes += known.n_bytes
        self.on_report(report)

    def _noted(self, part: _Part) -> Iterator[str]:
        """Note the stored contents of a part; yield the rest, or everything if that fails."""
        report = WatchedReport()
        try:
            if part.stored.assets:
                self.job().note(part.stored.assets, self.labels, self._dead(), report)
                self.on_report(report)
        except AnymodalError as error:
            logger.info("files are checked again: %s", error)
            yield from (copy.uri for copies in part.stored.assets.values() for copy in copies)
        yield from part.rest

    def _dead(self) -> Callable[[AssetRow], set[str]]:
        looks = self.looks()
        return lambda row: set().union(*(look.dead(row) for look in looks))
