"""Write to the index what the record has acknowledged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import numpy as np

from encoder.system.batched import in_batches
from encoder.types import TEXT
from search.filters.columns import column_of
from search.filters.sqlite import VALUED, labels_of
from search.store.embedded.codes import CHUNK
from search.store.embedded.tables import (
    SEGMENT_COLUMNS,
    SLOT_BITS,
    asset_values,
    fact,
    marks,
    part_of,
    place_of,
    segment_values,
    set_fact,
    slot_of,
)
from search.store.embedded.views import Views
from search.store.milvus.rows import Keys
from search.store.several import partition_of
from search.types import AssetRow, SegmentRow

_IDS_PER_QUERY = 500
_COLUMNS = ["row", *(column_of(field) for field in VALUED)]
_KEEP = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)
_ASSET = (
    f"INSERT INTO asset (asset_id, {', '.join(_COLUMNS)}) VALUES (?, {marks(_COLUMNS)}) "
    f"ON CONFLICT (asset_id) DO UPDATE SET {_KEEP}"
)
_SEGMENT = (
    f"INSERT INTO segment (at, {SEGMENT_COLUMNS}) VALUES (?, {marks(SEGMENT_COLUMNS.split(','))})"
)


def put(
    db: sqlite3.Connection,
    views: Views,
    assets: Sequence[AssetRow],
    segments: Sequence[SegmentRow],
) -> None:
    """Store checked rows; each replaces its former one.

    ``db`` is a writing connection: nobody else writes to the files of ``views`` meanwhile.
    """
    last = {row.key: row for row in segments}
    nos = _numbers(db, {row.asset_id for row in last.values()})
    _bury(db, _places(db, "key", list(last)))
    by_part: dict[tuple[str, int], list[SegmentRow]] = {}
    for row in last.values():
        by_part.setdefault((str(row.modality), row.row), []).append(row)
    for (modality, number), rows in by_part.items():
        sql = "SELECT part, n_slots, sum FROM part WHERE modality = ? AND number = ?"
        part = db.execute(sql, (modality, number)).fetchone()
        part_no, start, total = part or (_new_part(db, modality, number), 0, 0)
        vectors = np.stack([row.embedding for row in rows])
        of = [nos[row.asset_id] for row in rows]
        total = views.files(part_no).append(start, vectors, np.array(of, np.int32), total)
        db.executemany(
            _SEGMENT,
            [
                (place_of(part_no, start + offset), *segment_values(row, no))
                for offset, (row, no) in enumerate(zip(rows, of, strict=True))
            ],
        )
        _grow(db, part_no, len(rows), total)
    _put_assets(db, assets)


def remove(db: sqlite3.Connection, asset_ids: Iterable[str]) -> None:
    """Remove assets and their segments; unknown ids are ignored."""
    ids = list(dict.fromkeys(asset_ids))
    for batch in in_batches(ids, _IDS_PER_QUERY):
        sql = f"SELECT no, asset_id FROM asset WHERE asset_id IN ({marks(batch)})"
        asset_ids_by_no = dict(db.execute(sql, batch).fetchall())
        nos = list(asset_ids_by_no)
        _bury(db, _places(db, "no", nos))
        for table in ("location", "label", "asset"):
            db.execute(f"DELETE FROM {table} WHERE no IN ({marks(nos)})", nos)
        db.executemany(
            "INSERT INTO unworded (asset_id) VALUES (?)",
            [(asset_id,) for asset_id in asset_ids_by_no.values()],
        )


def keys_of(db: sqlite3.Connection, asset_ids: Iterable[str]) -> Keys:
    """The partitions and the keys of all segments of these assets."""
    ids, keys = list(dict.fromkeys(asset_ids)), dict[str, list[tuple[str, str]]]()
    for batch in in_batches(ids, _IDS_PER_QUERY):
        sql = (  # "+" drops the column's type: with it, SQLite would not use segment's index
            "SELECT asset_id, modality, number, key "
            "FROM asset JOIN segment ON segment.no = +asset.no "
            f"JOIN part ON part.part = segment.at >> {SLOT_BITS} WHERE asset_id IN ({marks(batch)})"
        )
        for asset_id, modality, number, key in db.execute(sql, batch):
            keys.setdefault(asset_id, []).append((partition_of(modality, number), key))
    return keys


def compact(db: sqlite3.Connection, views: Views) -> None:
    """Copy parts of which more than half is dead to new files; readers keep the old ones."""
    for part_no, modality, number, n_slots, n_live, total in db.execute(
        "SELECT part, modality, number, n_slots, n_live, sum FROM part"
    ).fetchall():
        if n_slots - n_live > max(CHUNK, n_live):
            views.files(part_no).nos(n_slots, total)
            _copy(db, views, part_no, modality, number)


def _put_assets(db: sqlite3.Connection, assets: Sequence[AssetRow]) -> None:
    db.executemany(_ASSET, [(row.asset_id, *asset_values(row)) for row in assets])
    nos = _numbers(db, {row.asset_id for row in assets})
    for table in ("location", "label"):
        db.executemany(f"DELETE FROM {table} WHERE no = ?", [(no,) for no in nos.values()])
    db.executemany(
        "INSERT OR IGNORE INTO location VALUES (?, ?)",
        [(uri, nos[row.asset_id]) for row in assets for uri in row.locations],
    )
    db.executemany(
        "INSERT OR IGNORE INTO label VALUES (?, ?, ?)",
        [(*label, nos[row.asset_id]) for row in assets for label in labels_of(row)],
    )


def _numbers(db: sqlite3.Connection, asset_ids: Iterable[str]) -> dict[str, int]:
    """The number of each; an unknown one gets a row without a commit row."""
    ids = sorted(asset_ids)
    db.executemany(
        "INSERT INTO asset (asset_id) VALUES (?) ON CONFLICT DO NOTHING",
        [(asset_id,) for asset_id in ids],
    )
    numbers: dict[str, int] = {}
    for batch in in_batches(ids, _IDS_PER_QUERY):
        sql = f"SELECT asset_id, no FROM asset WHERE asset_id IN ({marks(batch)})"
        numbers.update(db.execute(sql, batch).fetchall())
    return numbers


def _places(db: sqlite3.Connection, column: str, values: Sequence[object]) -> list[int]:
    places: list[int] = []
    for batch in in_batches(values, _IDS_PER_QUERY):
        sql = f"SELECT at FROM segment WHERE {column} IN ({marks(batch)})"
        places += [at for (at,) in db.execute(sql, batch)]
    return places


def _bury(db: sqlite3.Connection, places: Sequence[int]) -> None:
    """Remove rows; their slots stay, and no longer count."""
    db.executemany("DELETE FROM segment WHERE at = ?", [(at,) for at in places])
    db.executemany("INSERT INTO dead (at) VALUES (?)", [(at,) for at in places])
    parts = [part_of(at) for at in places]
    for part_no in set(parts):
        n = parts.count(part_no)
        db.execute("UPDATE part SET n_live = n_live - ? WHERE part = ?", (n, part_no))


def _new_part(db: sqlite3.Connection, modality: str, number: int) -> int:
    """A number that no part ever had: files of an old part may still exist."""
    part_no = 1 + (fact(db, "last_part") or 0)
    set_fact(db, "last_part", part_no)
    db.execute("INSERT INTO part VALUES (?, ?, ?, 0, 0, 0)", (part_no, modality, number))
    return part_no


def _grow(db: sqlite3.Connection, part_no: int, n_rows: int, total: int) -> None:
    db.execute(
        "UPDATE part SET n_slots = n_slots + ?, n_live = n_live + ?, sum = ? WHERE part = ?",
        (n_rows, n_rows, total, part_no),
    )


def _copy(db: sqlite3.Connection, views: Views, old: int, modality: str, number: int) -> None:
    db.execute("DELETE FROM part WHERE part = ?", (old,))
    new, n_done, total = _new_part(db, modality, number), 0, 0
    source, target = views.files(old), views.files(new)
    live = db.execute(
        "SELECT at, no FROM segment WHERE at >= ? AND at < ? ORDER BY at",
        (place_of(old, 0), place_of(old + 1, 0)),
    ).fetchall()
    for start in range(0, len(live), CHUNK):
        some = live[start : start + CHUNK]
        slots = np.array([slot_of(at) for at, _ in some])
        nos = np.array([no for _, no in some], np.int32)
        total = target.append(start, source.rows(slots), nos, total)
        db.executemany(
            "UPDATE segment SET at = ? WHERE at = ?",
            [(place_of(new, start + n), at) for n, (at, _) in enumerate(some)],
        )
        n_done += len(some)
    _grow(db, new, n_done, total)
    db.execute(
        "DELETE FROM dead WHERE at >= ? AND at < ?", (place_of(old, 0), place_of(old + 1, 0))
    )
    if modality == TEXT and not number and fact(db, "words"):
        set_fact(db, "words", [new, n_done])  # all had been read
