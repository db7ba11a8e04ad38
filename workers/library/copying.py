"""Encode the assets of one space of a store in another, from their files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace

from encoder.system.batched import in_batches
from ingest.types import Failure
from search.store.base import VectorStore
from search.store.locks import exclusive
from search.types import AssetRow
from workers.pipeline.ingest_pipeline import IngestPipeline

OnProgress = Callable[[int, int], object]
MAX_PASSES = 5
_LOOKUP = 500


@dataclass
class Copied:
    """What a copy did.

    Args:
        n_assets: in the space that is copied.
        n_known: were in the other one already, as from an interrupted copy.
        n_encoded: were encoded.
        n_removed: were in the other space only, and were removed there.
        n_gone: no longer have a file, so that no search shows them; their commit rows go along,
            without segments.
        failures: files from which an asset could not be encoded, with reasons.
    """

    n_assets: int = 0
    n_known: int = 0
    n_encoded: int = 0
    n_removed: int = 0
    n_gone: int = 0
    failures: list[Failure] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    """The assets that stay behind although they are found today."""

    def add(self, other: Copied) -> None:
        """Count what was done for another space, or later."""
        self.n_assets = max(self.n_assets, other.n_assets)
        self.n_gone = max(self.n_gone, other.n_gone)
        self.n_known += other.n_known
        self.n_encoded += other.n_encoded
        self.failures += other.failures
        self.lost |= other.lost


@dataclass(frozen=True)
class Copier:
    """Copies the assets of one space into another. May be repeated: existing ones are kept.

    A commit row without segments keeps the places and labels of what is encoded later: an asset
    that is gone, once an ingest sees it again, and what came late, after the switch.

    Args:
        old: the store, in the space that is searched.
        new: the pipeline into the other space.
        check: raises if another space is searched by now.
        share: of the time to work in, 0 to 1; the rest is left to searches.
        stopped: ends the copy after the files under way.
        wanted: the rows of ``old`` to copy; None for all.
    """

    old: VectorStore
    new: IngestPipeline
    check: Callable[[], object]
    share: float = 1.0
    stopped: Callable[[], bool] = lambda: False
    wanted: Callable[[], Iterator[AssetRow]] | None = None
    tried: set[str] = field(default_factory=set)
    """Assets that no later pass tries again."""

    def add(self, on_progress: OnProgress = lambda _done, _all: None) -> Copied:
        """Encode until nothing is missing, including what is ingested meanwhile."""
        done = Copied()
        for first in (True, *[False] * (MAX_PASSES - 1)):
            if not self._pass(done, on_progress, first):
                break
        return done

    def settle(self) -> list[AssetRow]:
        """Carry everything over that needs no encoding; return the rows that do.

        Just before the switch, while nobody writes. Afterwards, what the new space holds counts.
        """
        missing: list[AssetRow] = []
        for rows in in_batches(self._rows(), _LOOKUP):
            untried = [row for row in rows if row.asset_id not in self.tried]
            encoded_ids = self._carry(rows, untried)
            missing += [row for row in untried if not (row.is_gone or row.asset_id in encoded_ids)]
        return missing

    def follow(self, missing: Sequence[AssetRow], done: Copied) -> None:
        """Encode what `settle` returned, after the switch: others may change it meanwhile."""
        for rows in in_batches(iter(missing), self.new.shard_files):
            new_rows = self.new.store.assets([row.asset_id for row in rows])
            late = [
                row
                for row in rows
                if (new_row := new_rows.get(row.asset_id)) and not new_row.n_segments
            ]
            report = self.new.ingest([uri for row in late for uri in row.locations])
            self._count(late, self._encoded(late), report.failures, done)

    def left(self) -> list[AssetRow]:
        """The rows that were not encoded: their files are gone, or could not be read."""
        return [
            row
            for rows in in_batches(self._rows(), _LOOKUP)
            for encoded_ids in [self._encoded(rows)]
            for row in rows
            if row.asset_id not in encoded_ids
        ]

    def _rows(self) -> Iterator[AssetRow]:
        return self.wanted() if self.wanted else self.old.scan()

    def _encoded(self, rows: Sequence[AssetRow]) -> set[str]:
        new_rows = self.new.store.assets([row.asset_id for row in rows])
        return {asset_id for asset_id, row in new_rows.items() if row.n_segments}

    def _pass(self, done: Copied, on_progress: OnProgress, is_first: bool) -> bool:
        """Encode what is missing; return whether there was anything to encode."""
        n_all, n_seen, anything = self.old.count(), 0, False
        done.n_assets, done.n_gone = n_all, 0
        for rows in in_batches(self._rows(), self.new.shard_files):
            encoded_ids = self._encoded(rows)
            gone = [row for row in rows if row.is_gone]
            missing = [
                row for row in rows if not (row.is_gone or row.asset_id in encoded_ids | self.tried)
            ]
            done.n_gone += len(gone)
            done.n_known += len(encoded_ids) if is_first else 0
            if missing:
                anything = True
                self._encode(missing, done)
            self._carry([row for row in rows if row.asset_id in encoded_ids], gone)
            n_seen += len(rows)
            on_progress(n_seen, max(n_all, n_seen))
            if self.stopped():
                return False
        return anything

    def _encode(self, rows: Sequence[AssetRow], done: Copied) -> None:
        started_s = time.monotonic()
        uris = [uri for row in rows for uri in row.locations]
        report = self.new.ingest(uris)
        self._remove_strangers(uris)
        self._count(rows, self._carry(rows), report.failures, done)
        self._rest(time.monotonic() - started_s)

    def _count(
        self, rows: Sequence[AssetRow], stored: Set[str], failures: Sequence[Failure], done: Copied
    ) -> None:
        self.tried.update(row.asset_id for row in rows)
        missing = {row.asset_id: row for row in rows if row.asset_id not in stored}
        done.n_encoded += len(rows) - len(missing)
        done.lost |= missing.keys()
        reasons = {failure.uri: failure for failure in failures}
        for row in missing.values():
            failure_reasons = [reasons[uri] for uri in row.locations if uri in reasons]
            done.failures += failure_reasons or [Failure(row.locations[0], "ChangedFile", _CHANGED)]

    def _remove_strangers(self, uris: Sequence[str]) -> None:
        """Remove the content of files that changed since they were ingested: it is not searched."""
        with exclusive(self.new.store, (), uris) as at_uris:
            stored_ids = {row.asset_id for rows in at_uris.values() for row in rows}
            if strangers := stored_ids - self.old.assets(list(stored_ids)).keys():
                self.new.store.delete(list(strangers))

    def _rest(self, busy_s: float) -> None:
        """Leave the machine to searches for their share of the time."""
        end_s = time.monotonic() + busy_s * (1 / self.share - 1)
        while not self.stopped() and (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.2))

    def _carry(self, rows: Sequence[AssetRow], anew: Sequence[AssetRow] = ()) -> set[str]:
        """Give commit rows the places and labels of the old ones; return those with segments.

        Raises:
            StoreMovedError: another move was faster.
        """
        with exclusive(self.new.store, [row.asset_id for row in (*rows, *anew)]):
            self.check()
            new = self.new.store.assets([row.asset_id for row in (*rows, *anew)])
            carried_rows = {row.asset_id: replace(row, n_segments=0) for row in anew}
            for row in (*rows, *anew):
                if new_row := new.get(row.asset_id):
                    carried_rows[row.asset_id] = replace(
                        new_row, locations=list(row.locations), metadata=row.metadata
                    )
            if changed := [row for row in carried_rows.values() if row != new.get(row.asset_id)]:
                self.new.store.write(changed, [])
        return {asset_id for asset_id, row in new.items() if row.n_segments}

    def remove_others(self) -> int:
        """Remove from the new space what the old one no longer holds; return how many."""
        extra = []
        for rows in in_batches(self.new.store.scan(), _LOOKUP):
            old_rows = self.old.assets([row.asset_id for row in rows])
            extra += [row.asset_id for row in rows if row.asset_id not in old_rows]
        with exclusive(self.new.store, extra):
            self.new.store.delete(extra)
        return len(extra)


_CHANGED = "The file has changed. Ingest it again first."
