"""Check the files of a folder against one another, and mend what can be mended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from encoder.types import Modality
from search.store.checking import (
    DAMAGED,
    DAMAGED_ROWS,
    FORMER,
    LOST_LANES,
    Findings,
    Progress,
    compared,
)
from search.store.folder.database import (
    Connection,
    DamagedError,
    LaneNumbers,
    among,
    asset_of,
    place_of,
    slot_of,
)
from search.store.folder.vector_files import VectorFiles
from search.store.folder.views import Views
from search.store.lanes import StoreLanes

_AT_ONCE = 1000


class FolderCheck:
    """Reads pages and vectors with their checksums, as of what a reading connection sees."""

    def __init__(self, db: Connection, lanes: StoreLanes, views: Views) -> None:
        self._db = db
        self._lanes = LaneNumbers(db, lanes)
        self._views = views

    def find(self, progress: Progress) -> Findings:
        findings = Findings()
        try:
            (verdict,) = self._db.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise DamagedError(verdict.replace("*** in database main ***\n", ""))
            self._count(findings)
            self._read_vectors(findings, progress)
        except (DamagedError, OSError, ValueError) as error:
            findings.add(DAMAGED, str(error) or "vectors")
        return findings

    def _count(self, findings: Findings) -> None:
        """Compare what assets count with what the lanes that are searched hold."""
        sql = (
            "SELECT asset_id, lane, count(*) FROM segment JOIN asset USING (no) "
            "JOIN part ON part.part = segment.at >> 40 WHERE number = 0 GROUP BY no, lane"
        )
        counts = defaultdict[str, Counter[Modality]](Counter)
        other_ids = set[str]()
        for asset_id, lane, n in self._db.execute(sql):
            if lane in self._lanes.searched:
                counts[asset_id][self._lanes.searched[lane]] = n
            else:
                other_ids.add(asset_id)
        sql = "SELECT asset_id, row FROM asset WHERE row IS NOT NULL"
        rows = (asset_of(key, row, self._lanes) for key, row in self._db.execute(sql))
        for _ in compared(rows, counts, other_ids, findings):
            pass

    def _read_vectors(self, findings: Findings, progress: Progress) -> None:
        parts = self._db.execute(
            "SELECT part, lane, n_slots, sum, n_live, space, embed_dim FROM part "
            "JOIN lane USING (lane) JOIN space USING (space)"  # those of dropped lanes have none
        ).fetchall()
        n_all, n_read = sum(part[4] for part in parts), 0
        sql = "SELECT asset_id, row FROM asset WHERE row IS NOT NULL AND asset_id IN ({})"
        for part_no, lane, n_slots, total, _, space, embed_dim in parts:
            is_searched = lane in self._lanes.searched
            files = self._views.files(part_no, embed_dim)
            if is_lost := not _reads(lambda: files.nos(n_slots, total)):  # noqa: B023
                findings.add(LOST_LANES, str(self._lanes.all[lane][1]), f"in the space {space}")
            for slots, asset_ids in _live_slots(self._db, part_no):
                n_read += len(slots)
                findings.n_segments += len(slots) * is_searched
                damaged = asset_ids if is_lost else _damaged(files, slots, asset_ids)
                difference = DAMAGED_ROWS if is_searched else FORMER
                for asset_id in damaged:
                    findings.add(difference, asset_id)
                for columns in among(self._db, sql, damaged):  # those that are committed
                    findings.add_asset(difference, asset_of(*columns))
                progress(n_read, n_all)


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
