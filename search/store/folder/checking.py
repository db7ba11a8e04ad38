"""Check the files of a folder against one another, and mend what can be mended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from encoder.system.batched import in_batches
from encoder.types import Modality
from search.errors import IndexNotReadyError
from search.lexical.analysis import terms
from search.lexical.index import IndexedText
from search.lexical.names import text_of
from search.store.checking import (
    DAMAGED,
    DAMAGED_ROWS,
    FORMER,
    INDEX_NAMES,
    INDEX_WORDS,
    LOST_LANES,
    ORPHANED,
    Findings,
    Progress,
    difference_of,
)
from search.store.folder.database import (
    Connection,
    DamagedError,
    LaneNumbers,
    asset_of,
    place_of,
    slot_of,
)
from search.store.folder.reading import Reading
from search.store.folder.vector_files import VectorFiles
from search.store.folder.views import Views
from search.store.folder.words import KeptIndex
from search.store.lanes import StoreLanes
from search.types import AssetRow

_AT_ONCE = 1000


class FolderCheck:
    """Reads everything: pages and vectors with their checksums, words and names."""

    def __init__(
        self,
        lanes: StoreLanes,
        reading: Reading,
        views: Views,
        words: KeptIndex,
        names: KeptIndex,
    ) -> None:
        self._lanes = lanes
        self._reading = reading
        self._views = views
        self._words = words
        self._names = names

    def find(self, db: Connection, progress: Progress) -> Findings:
        """What is wrong as of what a reading connection sees."""
        findings = Findings()
        try:
            (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise DamagedError(verdict.replace("*** in database main ***\n", ""))
            self._count(db, findings)
            self._read_vectors(db, findings, progress)
        except (DamagedError, OSError, ValueError) as error:
            findings.add(DAMAGED, str(error) or "vectors")
            return findings
        self._find_texts(findings)
        return findings

    def _count(self, db: Connection, findings: Findings) -> None:
        """Compare what assets count with what the lanes that are searched hold."""
        lanes = LaneNumbers(db, self._lanes)
        sql = (
            "SELECT no, lane, count(*) FROM segment JOIN part ON part.part = segment.at >> 40 "
            "WHERE number = 0 GROUP BY no, lane"
        )
        counts = defaultdict[int, Counter[Modality]](Counter)
        others = set[int]()
        for no, lane, n in db.execute(sql):
            if lane in lanes.searched:
                counts[no][lanes.searched[lane]] = n
            else:
                others.add(no)
        for no, asset_id, row in db.execute("SELECT no, asset_id, row FROM asset"):
            if row is None:
                if no in counts or no in others:
                    findings.add(ORPHANED, asset_id)
                continue
            findings.n_assets += 1
            asset = asset_of(asset_id, row, lanes)
            if difference := difference_of(asset, counts[no]):
                findings.add(difference, asset_id, location_of(asset))

    def _read_vectors(self, db: Connection, findings: Findings, progress: Progress) -> None:
        lanes = LaneNumbers(db, self._lanes)
        parts = db.execute(
            "SELECT part, lane, n_slots, sum, n_live, space, embed_dim FROM part "
            "JOIN lane USING (lane) JOIN space USING (space)"  # those of dropped lanes have none
        ).fetchall()
        n_all, n_read = sum(part[4] for part in parts), 0
        for part_no, lane, n_slots, total, _, space, embed_dim in parts:
            is_searched = lane in lanes.searched
            files = self._views.files(part_no, embed_dim)
            if is_lost := not _reads(lambda: files.nos(n_slots, total)):  # noqa: B023
                findings.add(LOST_LANES, str(lanes.all[lane][1]), f"in the space {space}")
            for slots, asset_ids in _live_slots(db, part_no):
                n_read += len(slots)
                findings.n_segments += len(slots) * is_searched
                damaged = asset_ids if is_lost else _damaged(files, slots, asset_ids)
                rows = self._reading.assets(damaged) if damaged else {}
                for asset_id in damaged:
                    where = location_of(rows[asset_id]) if asset_id in rows else ""
                    findings.add(DAMAGED_ROWS if is_searched else FORMER, asset_id, where)
                progress(n_read, n_all)

    def _find_texts(self, findings: Findings) -> None:
        for index in (self._words, self._names):
            try:
                index.refresh()
            except IndexNotReadyError:  # far behind, or lost
                index.feed(waits=True)
                index.refresh()
        texts = (IndexedText(key, "", text) for key, text in self._reading.texts())
        for some in _pages(texts):
            for text in self._words.lacking(some):
                findings.add(INDEX_WORDS, text.segment_id)
        rows = self._reading.scan(None)
        for some in _pages(text_of(row) for row in rows if not row.is_gone):
            for text in self._names.lacking(some):
                findings.add(INDEX_NAMES, text.segment_id)


def location_of(row: AssetRow) -> str:
    """By what people know an asset."""
    return next(iter(row.locations), "")


Slots: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]


def _damaged(files: VectorFiles, slots: Slots, asset_ids: list[str]) -> list[str]:
    """The assets of the slots whose vectors are not what was written."""
    if _reads(lambda: files.rows(slots)):
        return []
    each = zip(slots, asset_ids, strict=True)
    return [key for slot, key in each if not _reads(lambda: files.rows(np.array([slot])))]  # noqa: B023


def _reads(read: Callable[[], object]) -> bool:
    try:
        read()
    except DamagedError:
        return False
    return True


def _live_slots(db: Connection, part_no: int) -> Iterator[tuple[Slots, list[str]]]:
    after = place_of(part_no, 0) - 1
    sql = (
        "SELECT at, asset_id FROM segment JOIN asset USING (no) "
        f"WHERE at > ? AND at < ? ORDER BY at LIMIT {_AT_ONCE}"
    )
    while rows := db.execute(sql, (after, place_of(part_no + 1, 0))).fetchall():
        yield np.array([slot_of(at) for at, _ in rows]), [asset_id for _, asset_id in rows]
        after = rows[-1][0]


def _pages(texts: Iterator[IndexedText]) -> Iterator[list[IndexedText]]:
    """Texts with words, some at a time."""
    worded = (text for text in texts if terms(text.text))
    return in_batches(worded, _AT_ONCE)
