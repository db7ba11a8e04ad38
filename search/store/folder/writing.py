"""Write rows to the database and their vectors beside it, and move those that lie too far apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from encoder.system.batched import in_batches
from encoder.types import TEXT
from search.filters.columns import column_of
from search.filters.sqlite import VALUED, labels_of
from search.store.folder.codes import CHUNK
from search.store.folder.database import (
    SEGMENT_COLUMNS,
    Connection,
    asset_values,
    fact,
    marks,
    part_of,
    place_of,
    segment_values,
    set_fact,
    slot_of,
    version_of,
)
from search.store.folder.views import Views
from search.types import AssetRow, SegmentRow

WORDS, NAMES = "words", "names"
"""Who reads what is ``unread``: the ids are keys of texts, and ids of assets."""
MOVED_AT_ONCE = 1024
"""The most rows that a compaction moves in one transaction."""
_IDS_PER_QUERY = 500
_N_CHANGES = 20_000
"""So many changes of assets are remembered."""
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
    db: Connection,
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
    by_kind: dict[tuple[str, int], list[SegmentRow]] = {}
    for row in last.values():
        by_kind.setdefault((str(row.modality), row.row), []).append(row)
    for (modality, number), rows in by_kind.items():
        part_no, start, total = _open_part(db, modality, number)
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
    texts = [row.key for row in last.values() if row.modality == TEXT and not row.row]
    _note(db, WORDS, texts)
    _note(db, NAMES, [row.asset_id for row in assets])


def remove(db: Connection, asset_ids: Iterable[str]) -> None:
    """Remove assets and their segments; unknown ids are ignored."""
    ids = list(dict.fromkeys(asset_ids))
    for batch in in_batches(ids, _IDS_PER_QUERY):
        sql = f"SELECT no, asset_id FROM asset WHERE asset_id IN ({marks(batch)})"
        asset_ids_by_no = dict(db.execute(sql, batch).fetchall())
        nos = list(asset_ids_by_no)
        remove_segments(db, nos)
        for table in ("location", "label", "asset"):
            db.execute(f"DELETE FROM {table} WHERE no IN ({marks(nos)})", nos)
        _note(db, NAMES, list(asset_ids_by_no.values()))
        _note_changes(db, nos)


def remove_segments(db: Connection, nos: Sequence[int]) -> None:
    """Remove all segments of the assets of these numbers."""
    sql = f"SELECT at, key FROM segment WHERE no IN ({marks(nos)})"
    keys = dict(db.execute(sql, nos).fetchall())
    texts = {part for (part,) in db.execute("SELECT part FROM part WHERE modality = ?", (TEXT,))}
    _bury(db, list(keys))
    _note(db, WORDS, [key for at, key in keys.items() if part_of(at) in texts and "#" not in key])


def remove_parts(db: Connection, is_unwanted: Callable[[str], bool]) -> int:
    """Remove the segments of some modalities; return how many."""
    n_segments = 0
    for part_no, modality, number, n_live in db.execute(
        "SELECT part, modality, number, n_live FROM part"
    ).fetchall():
        if is_unwanted(modality):
            whole = (place_of(part_no, 0), place_of(part_no + 1, 0))
            if modality == TEXT and not number:
                keys = db.execute("SELECT key FROM segment WHERE at >= ? AND at < ?", whole)
                _note(db, WORDS, [key for (key,) in keys.fetchall()])
            for table in ("segment", "dead"):
                db.execute(f"DELETE FROM {table} WHERE at >= ? AND at < ?", whole)
            db.execute("DELETE FROM part WHERE part = ?", (part_no,))
            n_segments += 0 if number else n_live
    return n_segments


def is_scattered(db: Connection) -> bool:
    """Whether `move_some` has something to do."""
    return _scattered(db) is not None


def move_some(db: Connection, views: Views) -> list[int]:
    """Move some rows of files of which more than half is dead to new ones; readers keep the old.

    Returns the parts that nobody needs any more, once this is committed.
    """
    if (source := _scattered(db)) is None:
        return []
    part_no, modality, number, n_slots, total = source
    if _open_part(db, modality, number)[0] == part_no:
        _new_part(db, modality, number)
    target_no, start, target_total = _open_part(db, modality, number)
    views.files(part_no).nos(n_slots, total)
    live = db.execute(
        "SELECT at, no FROM segment WHERE at >= ? AND at < ? ORDER BY at LIMIT ?",
        (place_of(part_no, 0), place_of(part_no + 1, 0), MOVED_AT_ONCE),
    ).fetchall()
    if live:
        slots = np.array([slot_of(at) for at, _ in live])
        nos = np.array([no for _, no in live], np.int32)
        rows = views.files(part_no).rows(slots)
        target_total = views.files(target_no).append(start, rows, nos, target_total)
        db.executemany(
            "UPDATE segment SET at = ? WHERE at = ?",
            [(place_of(target_no, start + n), at) for n, (at, _) in enumerate(live)],
        )
        _grow(db, target_no, len(live), target_total)
        _count_dead(db, [at for at, _ in live])
    if len(live) == MOVED_AT_ONCE:
        return []
    db.execute("DELETE FROM part WHERE part = ?", (part_no,))
    whole = (place_of(part_no, 0), place_of(part_no + 1, 0))
    db.execute("DELETE FROM dead WHERE at >= ? AND at < ?", whole)
    return [part_no]


def _scattered(db: Connection) -> tuple[int, str, int, int, int] | None:
    """A part to move away from: one that was begun with, or the most scattered one."""
    sql = (
        "SELECT part, modality, number, n_slots, sum FROM part AS old "
        "WHERE n_slots - n_live > max(?, n_live) OR (n_slots > 0 AND part < "
        "(SELECT max(part) FROM part WHERE modality = old.modality AND number = old.number)) "
        "ORDER BY part LIMIT 1"
    )
    row = db.execute(sql, (CHUNK,)).fetchone()
    return row and (row[0], row[1], row[2], row[3], row[4])


def _note(db: Connection, source: str, ids: Sequence[str]) -> None:
    insert = "INSERT INTO unread (source, id) VALUES (?, ?)"
    db.executemany(insert, [(source, unread_id) for unread_id in ids])


def _note_changes(db: Connection, nos: Iterable[int]) -> None:
    version = version_of(db) + 1
    insert = "INSERT INTO changed (version, no) VALUES (?, ?)"
    db.executemany(insert, [(version, no) for no in nos])
    forget = "DELETE FROM changed WHERE seq <= (SELECT max(seq) FROM changed) - ?"
    db.execute(forget, (_N_CHANGES,))


def _put_assets(db: Connection, assets: Sequence[AssetRow]) -> None:
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
    _note_changes(db, nos.values())


def _numbers(db: Connection, asset_ids: Iterable[str]) -> dict[str, int]:
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


def _places(db: Connection, column: str, values: Sequence[object]) -> list[int]:
    places: list[int] = []
    for batch in in_batches(values, _IDS_PER_QUERY):
        sql = f"SELECT at FROM segment WHERE {column} IN ({marks(batch)})"
        places += [at for (at,) in db.execute(sql, batch)]
    return places


def _bury(db: Connection, places: Sequence[int]) -> None:
    """Remove rows; their slots stay, and no longer count."""
    db.executemany("DELETE FROM segment WHERE at = ?", [(at,) for at in places])
    _count_dead(db, places)


def _count_dead(db: Connection, places: Sequence[int]) -> None:
    db.executemany("INSERT INTO dead (at) VALUES (?)", [(at,) for at in places])
    for part_no, n in Counter(part_of(at) for at in places).items():
        db.execute("UPDATE part SET n_live = n_live - ? WHERE part = ?", (n, part_no))


def _open_part(db: Connection, modality: str, number: int) -> tuple[int, int, int]:
    """The part to which rows of this kind are added, its slots and their checksum."""
    sql = (
        "SELECT part, n_slots, sum FROM part WHERE modality = ? AND number = ? "
        "ORDER BY part DESC LIMIT 1"
    )
    part = db.execute(sql, (modality, number)).fetchone()
    return part or (_new_part(db, modality, number), 0, 0)


def _new_part(db: Connection, modality: str, number: int) -> int:
    """A number that no part ever had: files of an old part may still exist."""
    part_no = 1 + (fact(db, "last_part") or 0)
    set_fact(db, "last_part", part_no)
    db.execute("INSERT INTO part VALUES (?, ?, ?, 0, 0, 0)", (part_no, modality, number))
    return part_no


def _grow(db: Connection, part_no: int, n_rows: int, total: int) -> None:
    db.execute(
        "UPDATE part SET n_slots = n_slots + ?, n_live = n_live + ?, sum = ? WHERE part = ?",
        (n_rows, n_rows, total, part_no),
    )
