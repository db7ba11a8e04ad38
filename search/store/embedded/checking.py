"""Check the index beside a record: against the record, and its files for themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from encoder.system.batched import in_batches
from search.lexical.analysis import terms
from search.lexical.index import IndexedText
from search.lexical.names import text_of
from search.store.checking import (
    DAMAGED,
    INDEX_NAMES,
    INDEX_WORDS,
    LOST,
    OUTDATED,
    Findings,
    Progress,
    paired,
)
from search.store.embedded.reading import IndexReading
from search.store.embedded.tables import DamagedError
from search.types import SegmentRow

if TYPE_CHECKING:
    from search.store.embedded.side import Side
    from search.store.milvus.store import MilvusStore

_AT_ONCE = 1000
_ALIKE = 1e-4
"""The most by which a unit vector's numbers differ after the record has stored it calibrated."""


class IndexCheck:
    """Reads record and index row by row, both in the order of their keys."""

    def __init__(self, side: Side, reading: IndexReading) -> None:
        self._side = side
        self._reading = reading

    def find(self, record: MilvusStore, findings: Findings, progress: Progress) -> None:
        """Add what is wrong with the index, and what it has that the record lacks."""
        try:
            with self._side.current.tables.reading() as db:
                (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise DamagedError(verdict)
            self._compare(record, findings, progress)
            self._find_texts(findings)
            self._side.current.complete_codes()
        except (DamagedError, OSError, ValueError) as error:
            findings.add(DAMAGED, str(error) or "vectors")

    def _compare(self, record: MilvusStore, findings: Findings, progress: Progress) -> None:
        indexed_rows = self._reading.segments()
        pairs = paired(record.segments(), indexed_rows, attrgetter("key"))
        for n_done, (stored, indexed) in enumerate(pairs):
            if indexed is None or (stored is not None and not _is_alike(stored, indexed)):
                assert stored is not None
                findings.add(OUTDATED, stored.asset_id, stored.key)
            elif stored is None:
                findings.add(LOST, indexed.asset_id)
            if not n_done % _AT_ONCE:
                progress(n_done, findings.n_segments)
        assets = paired(record.scan(), self._reading.scan(None), attrgetter("asset_id"))
        for row, held_row in assets:
            if row is None:
                assert held_row is not None
                findings.add(LOST, held_row.asset_id, next(iter(held_row.locations), ""))
            elif row != held_row:
                findings.add(OUTDATED, row.asset_id, next(iter(row.locations), ""))

    def _find_texts(self, findings: Findings) -> None:
        words, names = self._side.current.words, self._side.current.names
        words.catch_up()
        names.catch_up()
        texts = (IndexedText(key, "", text) for key, text in self._reading.texts())
        for some in _pages(texts):
            for text in words.lacking(some):
                findings.add(INDEX_WORDS, text.segment_id)
        rows = self._reading.scan(None)
        for some in _pages(text_of(row) for row in rows if not row.is_gone):
            for text in names.lacking(some):
                findings.add(INDEX_NAMES, text.segment_id)

    def write_back(self, record: MilvusStore, asset_ids: Sequence[str]) -> None:
        """Write to the record what only the index has."""
        for asset in self._reading.assets(asset_ids).values():
            segments = self._reading.embeddings(asset.asset_id)
            record.write([asset], segments)


def _is_alike(stored: SegmentRow, indexed: SegmentRow) -> bool:
    """Whether two rows are the same; numbers of the record are rounded."""
    if np.abs(stored.embedding - indexed.embedding).max() > _ALIKE:
        return False
    for name in ("start_s", "end_s", "confidence"):
        stored_value, indexed_value = getattr(stored, name), getattr(indexed, name)
        if (stored_value is None) != (indexed_value is None) or (
            stored_value is not None
            and not math.isclose(stored_value, indexed_value, rel_tol=1e-5, abs_tol=1e-6)
        ):
            return False
    return _plain(stored) == _plain(indexed)


def _plain(row: SegmentRow) -> tuple[object, ...]:
    return (
        row.key, row.asset_id, str(row.modality), row.index, row.char_start, row.char_end,
        row.snippet, row.language, row.boxes, row.place,
    )  # fmt: skip


def _pages(texts: Iterator[IndexedText]) -> Iterator[list[IndexedText]]:
    """Texts with words, some at a time."""
    worded = (text for text in texts if terms(text.text))
    return in_batches(worded, _AT_ONCE)
