"""Files whose content is stored, as after a rename: noted once, and by the thousand.

Shards are small, since they are decoded and encoded. What is stored already needs neither. In a
shard, it would need a write for each shard, and another for its former place, which a shard does
not know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from encoder.errors import AnymodalError
from ingest.location import is_path
from search.types import Labels
from workers.pipeline.ingest_job import IngestJob
from workers.pipeline.places import Identifying, KnownPlaces
from workers.pipeline.pruning import Looks
from workers.pipeline.reports import IngestReport

logger = logging.getLogger(__name__)

MOST_FILES = 4096
"""The most files noted at once; the rows of this many take some 10 MB."""
_MOST_BYTES = 256 * 2**20
"""The most bytes read before anything is noted: what is not stored waits for it."""
_AT_ONCE = 256


@dataclass(frozen=True)
class KnownFiles:
    """Takes files whose content is stored out of a stream."""

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
        local_paths = list[str]()
        batch = KnownPlaces()
        for path in files:
            if self.stopped():
                return
            if not is_path(path):
                yield path
                continue
            local_paths.append(path)
            if len(local_paths) == _AT_ONCE:
                self._look(local_paths, batch)
                local_paths.clear()
                if batch.n_files >= MOST_FILES or batch.n_bytes >= _MOST_BYTES:
                    yield from self._noted(batch)
                    batch = KnownPlaces()
        self._look(local_paths, batch)
        yield from self._noted(batch)

    def _has_any(self) -> bool:
        try:
            store = self.job().store
            return not store.read_only and bool(store.count())
        except AnymodalError:  # the shards report it
            return False

    def _look(self, paths: Sequence[str], batch: KnownPlaces) -> None:
        """Count the files that are as stored, and add the others to a part."""
        job, report = self.job(), IngestReport()
        with ExitStack() as scratch:
            identifying = Identifying(job.config, scratch, report.fail)
            try:
                with report.timed("identify"):
                    known_places = job.places(identifying).known_places(paths)
            except AnymodalError as error:
                logger.info("files are checked again: %s", error)
                batch.rest += paths
                return
        for copies in known_places.as_stored.assets.values():
            if self.labels:
                known_places.elsewhere.assets[copies[0].asset_id] += copies
            else:
                report.unchanged += len(copies)
        for asset_id, copies in known_places.elsewhere.assets.items():
            batch.elsewhere.assets[asset_id] += copies
        batch.rest += known_places.rest
        batch.n_bytes += known_places.n_bytes
        self.on_report(report)

    def _noted(self, batch: KnownPlaces) -> Iterator[str]:
        """Note the stored contents of a part; yield the rest, or everything if that fails."""
        report = IngestReport()
        try:
            if batch.elsewhere.assets:
                looks = self.looks()
                self.job().note(
                    batch.elsewhere.assets,
                    self.labels,
                    lambda row: set().union(*(look.dead(row) for look in looks)),
                    report,
                )
                self.on_report(report)
        except AnymodalError as error:
            logger.info("files are checked again: %s", error)
            yield from (copy.uri for copies in batch.elsewhere.assets.values() for copy in copies)
        yield from batch.rest
