"""Fill the lanes of another model beside those that are searched, from files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from encoder.system.batched import in_batches
from ingest.types import Failure
from search.store.base import VectorStore
from search.types import AssetRow, IngestRequest
from workers.pipeline.ingest_pipeline import IngestPipeline

OnProgress = Callable[[int, int], object]
MAX_PASSES = 5
_MAX_TRIES = 2


@dataclass
class Copied:
    """What a copy did.

    Args:
        n_assets: in the store.
        n_known: lacked nothing in the new lanes, as after an interrupted copy.
        n_encoded: were encoded.
        n_gone: no longer have a file, so that no search shows them.
        lost: the assets that stay behind: why, for each of its files.
        n_missed: how many of these are found today, so that somebody would miss them.
    """

    n_assets: int = 0
    n_known: int = 0
    n_encoded: int = 0
    n_gone: int = 0
    lost: dict[str, list[Failure]] = field(default_factory=dict)
    n_missed: int = 0

    @property
    def failures(self) -> list[Failure]:
        return [failure for of_asset in self.lost.values() for failure in of_asset]

    def add(self, later: Copied) -> None:
        """Count what was done later."""
        self.n_assets, self.n_gone = later.n_assets, later.n_gone
        self.n_known = self.n_known or later.n_known
        self.n_encoded += later.n_encoded
        self.lost |= later.lost


@dataclass(frozen=True)
class Copier:
    """Encodes assets once more. May be repeated: what is whole is left alone.

    What stays behind counts no segments in the new lanes, so that the next ingest reads it.

    Args:
        old: the store as it is searched.
        new: the pipeline into the lanes to fill.
        check: raises if others are searched by now.
        share: of the time to work in, 0 to 1; the rest is left to searches.
        stopped: ends the copy after the files under way.
    """

    old: VectorStore
    new: IngestPipeline
    check: Callable[[], object]
    share: float = 1.0
    stopped: Callable[[], bool] = lambda: False
    tries: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """Of assets with their locations; `_MAX_TRIES` are enough."""

    def add(self, on_progress: OnProgress = lambda _done, _all: None) -> Copied:
        """Encode until nothing is missing, including what is ingested meanwhile."""
        done = Copied()
        for first in (True, *[False] * (MAX_PASSES - 1)):
            if not self._pass(done, on_progress, first):
                break
        self.old.catch_up()
        # What was deleted meanwhile is missed by nobody, nor what waits for an ingest to read it.
        lost_rows = {
            key: row for key, row in self.old.assets([*done.lost]).items() if not row.is_gone
        }
        done.lost = {key: done.lost[key] for key in lost_rows}
        done.n_missed = sum(row.n_segments > 0 for row in lost_rows.values())
        return done

    def _pass(self, done: Copied, on_progress: OnProgress, is_first: bool) -> bool:
        """Encode what is missing; return whether there was anything to encode."""
        n_all, n_seen, anything = self.old.count(), 0, False
        done.n_assets, done.n_gone = n_all, 0
        for rows in in_batches(self.old.scan(), self.new.shard_files):
            whole_ids = self._whole(rows)
            missing = [
                row
                for row in rows
                if not (row.is_gone or row.asset_id in whole_ids)
                and self.tries[_as_tried(row)] < _MAX_TRIES
            ]
            done.n_gone += sum(row.is_gone for row in rows)
            done.n_known += len(whole_ids) if is_first else 0
            if missing:
                self.check()
                anything = True
                self._encode(missing, done)
            n_seen += len(rows)
            on_progress(n_seen, max(n_all, n_seen))
            if self.stopped():
                return False
        return anything

    def _whole(self, rows: Sequence[AssetRow]) -> set[str]:
        """The assets that lack nothing in the new lanes."""
        new_rows = self.new.store.assets([row.asset_id for row in rows])
        return {asset_id for asset_id, row in new_rows.items() if row.n_segments}

    def _encode(self, rows: Sequence[AssetRow], done: Copied) -> None:
        started_s = time.monotonic()
        report = self.new.ingest(IngestRequest([uri for row in rows for uri in row.locations]))
        reasons = {failure.uri: failure for failure in report.failures}
        whole_ids = self._whole(rows)
        done.n_encoded += len(whole_ids)
        for row in rows:
            done.lost.pop(row.asset_id, None)
            if row.asset_id not in whole_ids:
                of_row = [reasons[uri] for uri in row.locations if uri in reasons]
                # Without a reason it was changed, or deleted and stored again, while it was read.
                self.tries[_as_tried(row)] += _MAX_TRIES if of_row else 1
                changed = [Failure(row.locations[0], "ChangedFile", _CHANGED)]
                done.lost[row.asset_id] = of_row or changed
        self._rest(time.monotonic() - started_s)

    def _rest(self, busy_s: float) -> None:
        """Leave the machine to searches for their share of the time."""
        end_s = time.monotonic() + busy_s * (1 / self.share - 1)
        while not self.stopped() and (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.2))


def _as_tried(row: AssetRow) -> tuple[str, ...]:
    return row.asset_id, *row.locations


_CHANGED = "The file has changed. Ingest it again first."
