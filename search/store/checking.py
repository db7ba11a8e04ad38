"""What a check of a store finds: everything that contradicts the rest of it."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, repeat
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

from encoder.types import Modality
from search.types import AssetRow

Progress: TypeAlias = Callable[[int, int], object]
"""Called from time to time with the rows read and their total."""
Row = TypeVar("Row")

INCOMPLETE, ORPHANED, MISCOUNTED = "incomplete_assets", "orphaned_segments", "miscounted_assets"
PLACES, WORDS, UPLOADS = "missing_places", "missing_words", "dead_uploads"
DAMAGED, DAMAGED_ROWS = "damaged_files", "damaged_assets"
LOST_COMMITS, LOST_LANES, FORMER = "lost_commits", "lost_lanes", "damaged_former"
INDEX_WORDS, INDEX_NAMES = "index_words", "index_names"

MEANING = {
    INCOMPLETE: "assets of which segments are missing",
    ORPHANED: "assets that have segments, but no commit row",
    MISCOUNTED: "assets with more segments than their commit row says",
    PLACES: "assets that are not found at a location of theirs",
    WORDS: "texts that Milvus does not find by words",
    DAMAGED: "files that cannot be read",
    DAMAGED_ROWS: "assets whose vectors are not what was written",
    LOST_COMMITS: "acknowledged commits that are not there",
    LOST_LANES: "lanes whose vectors are lost",
    FORMER: "assets whose vectors are not what was written in a lane that is not searched",
    INDEX_WORDS: "texts whose words the index lacks",
    INDEX_NAMES: "assets whose names the index lacks",
    UPLOADS: "uploaded files that no asset shows",
}
REPAIR = {
    INCOMPLETE: "kept without segments, so that the next ingest reads them again",
    DAMAGED: "not mended: put back a backup, or ingest into a new store",
    DAMAGED_ROWS: "kept without segments, so that the next ingest reads them again",
    LOST_COMMITS: "given up; the next ingest reads again what is missing",
    FORMER: "removed there, so that a way back encodes them again",
    LOST_LANES: "begun anew, once the next ingest reads their assets again",
    ORPHANED: "removed, as nothing shows them; the next ingest stores them again",
    MISCOUNTED: "counted again",
    PLACES: "written again",
    WORDS: "written again",
    INDEX_WORDS: "read again",
    INDEX_NAMES: "read again",
    UPLOADS: "not mended: `anymodal ingest` stores them, deleting the files gives them up",
}
"""What a repair does."""


@dataclass
class Findings:
    """The ids of what is wrong, by kind, each with what people know it by."""

    n_assets: int = 0
    n_segments: int = 0
    wrong: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, difference: str, name: str, location: str = "") -> None:
        """Note that something is wrong; ``location`` is where it lies, if that is known."""
        self.wrong.setdefault(difference, {})[name] = location

    def add_asset(self, difference: str, row: AssetRow) -> None:
        """Note that something is wrong with an asset."""
        self.add(difference, row.asset_id, next(iter(row.locations), ""))

    def of(self, difference: str) -> list[str]:
        return list(self.wrong.get(difference, ()))


def compared(
    rows: Iterable[AssetRow],
    counts: Mapping[str, Mapping[Modality, int]],
    other_ids: Collection[str],
    findings: Findings,
) -> Iterator[AssetRow]:
    """Pass on all commit rows, and note which assets do not have the segments that they count.

    One that counts none is read again by the next ingest, whatever is there.

    Args:
        rows: in any order.
        counts: the segments of each asset in the lanes.
        others: assets that have segments in lanes that are not searched.
        findings: to which differences are added.
    """
    orphans = {*counts, *other_ids}
    for row in rows:
        findings.n_assets += 1
        orphans.discard(row.asset_id)
        n_stored = counts.get(row.asset_id, {})
        if row.counts and n_stored != row.counts:
            is_short = any(n_stored.get(modality, 0) < n for modality, n in row.counts.items())
            findings.add_asset(INCOMPLETE if is_short else MISCOUNTED, row)
        yield row
    for asset_id in sorted(orphans):
        findings.add(ORPHANED, asset_id)


def mended(
    findings: Findings, rows: Mapping[str, AssetRow], counts: Mapping[str, Mapping[Modality, int]]
) -> list[AssetRow]:
    """The commit rows to write: what has lost segments counts none, for the next ingest to read.

    Tags, titles and locations stay.
    """
    lost = {*findings.of(INCOMPLETE), *findings.of(DAMAGED_ROWS)}
    return [
        replace(row, counts={} if asset_id in lost else dict(counts.get(asset_id, {})))
        for asset_id, row in rows.items()
    ]


@runtime_checkable
class Checkable(Protocol):
    """A durable store, which can prove itself."""

    def check(self, progress: Progress) -> Findings:
        """Compare everything with everything else. Nobody should write meanwhile."""

    def repair(self, findings: Findings) -> None:
        """Mend what `check` has just found, as `REPAIR` says."""

    def counted(self, asset_ids: Sequence[str]) -> Mapping[str, Counter[Modality]]:
        """The number of segments in the lanes, by asset; an unknown one has none."""

    def stored_lanes(self) -> Collection[tuple[str, Modality]]:
        """Space and modality of all segments that are stored, in whichever lanes."""

    def drop(self, space: str, modality: Modality) -> int:
        """Remove all segments of a modality from a space; return how many rows it was."""


def paired(
    first_rows: Iterable[Row], second_rows: Iterable[Row], key: Callable[[Row], str]
) -> Iterator[tuple[Row | None, Row | None]]:
    """Rows of both sides by their keys, by which both are sorted; None where one has none.

    >>> list(paired("aac", "bc", str))
    [('a', None), (None, 'b'), ('c', 'c')]
    """
    sides = zip(repeat(0), first_rows), zip(repeat(1), second_rows)
    merged = heapq.merge(*sides, key=lambda pair: key(pair[1]))
    for _, rows in groupby(merged, lambda pair: key(pair[1])):
        row_of = dict(rows)
        yield row_of.get(0), row_of.get(1)
