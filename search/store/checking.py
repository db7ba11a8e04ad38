"""What a check of a store finds: everything that contradicts the rest of it."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, repeat
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

from encoder.types import Modality

Progress: TypeAlias = Callable[[int, int], object]
"""Called from time to time with the rows read and their total."""
Row = TypeVar("Row")

INCOMPLETE, ORPHANED, MISCOUNTED = "incomplete_assets", "orphaned_segments", "miscounted_assets"
PLACES, WORDS, UPLOADS = "missing_places", "missing_words", "dead_uploads"
DAMAGED, DAMAGED_ROWS = "damaged_files", "damaged_assets"
LOST_COMMITS = "lost_commits"
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
    INDEX_WORDS: "texts whose words the index lacks",
    INDEX_NAMES: "assets whose names the index lacks",
    UPLOADS: "uploaded files that no asset shows",
}
REPAIR = {
    INCOMPLETE: "kept without segments, so that the next ingest reads them again",
    DAMAGED: "not mended: put back a backup, or ingest into a new store",
    DAMAGED_ROWS: "kept without segments, so that the next ingest reads them again",
    LOST_COMMITS: "given up; the next ingest reads again what is missing",
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
    counts_matter: bool = True
    """False for a part of a store: an asset's other segments are elsewhere."""

    def add(self, difference: str, name: str, location: str = "") -> None:
        """Note that something is wrong; ``location`` is where it lies, if that is known."""
        self.wrong.setdefault(difference, {})[name] = location

    def of(self, difference: str) -> list[str]:
        return list(self.wrong.get(difference, ()))

    def without_counts(self) -> Findings:
        """The others than those by which an asset has too few or too many segments."""
        others = {d: wrong for d, wrong in self.wrong.items() if d not in (INCOMPLETE, MISCOUNTED)}
        return replace(self, wrong=others, counts_matter=False)


@runtime_checkable
class Checkable(Protocol):
    """A durable store, which can prove itself."""

    def check(self, progress: Progress) -> Findings:
        """Compare everything with everything else. Nobody should write meanwhile."""
        ...

    def repair(self, findings: Findings) -> None:
        """Mend what `check` has just found, as `REPAIR` says."""
        ...

    def counted(self, asset_ids: Sequence[str]) -> Mapping[str, Counter[Modality]]:
        """The number of segments of each modality, by asset; an unknown one has none."""
        ...


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
