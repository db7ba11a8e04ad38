"""Write rows to the database and their vectors beside it, and move those that lie too far apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection as Ids
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from encoder.types import TEXT, Modality
from search.filters.columns import column_of
from search.filters.sqlite import VALUED, labels_of
from search.store import calibrated
from search.store.folder.codes import CHUNK
from search.store.folder.database import (
    DROPPED,
    NOS_OF_ASSETS,
    SEGMENT_COLUMNS,
    SLOT_BITS,
    Connection,
    LaneNumbers,
    among,
    asset_of,
    asset_values,
    fact,
    marks,
    part_of,
    place_of,
    set_fact,
    slot_of,
    version_of,
)
from search.store.folder.views import Views
from search.store.lanes import Counts, StoreLanes, to_fill
from search.store.several import key_of, packed, stored_key
from search.types import AssetRow, SegmentRow, said_of

NAMES = "names"
"""Who reads what is ``unread`` of assets; the ids are theirs."""
_COUNTS = 3
"""Where the JSON of a commit row has the counts."""
MOVED_AT_ONCE = 1024
"""The most rows that a compaction moves in one transaction."""
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


def note_spaces(db: Connection, lanes: StoreLanes) -> None:
    """Note those that are not noted yet."""
    for space in lanes.spaces.values():
        text = calibrated.written(calibrated.unmeasured(space.calibration))
        db.execute(
            "INSERT OR IGNORE INTO space VALUES (?, ?, ?, ?)",
            (space.fingerprint, space.embed_dim, text, json.dumps(space.probes)),
        )


def words_in(space: str) -> str:
    """Who reads what is ``unread`` of the texts of a space; the ids are keys of segments."""
    return f"words-{space}"


def put(
    db: Connection,
    views: Views,
    lanes: StoreLanes,
    assets: Sequence[AssetRow],
    segments: Sequence[SegmentRow],
) -> None:
    """Store checked rows, or fill lanes with them; each replaces its former one.

    ``db`` is a writing connection: nobody else writes to the files of ``views`` meanwhile.
    """
    if lanes.filling:
        rows = _stored(db, {*(row.asset_id for row in assets), *(row.asset_id for row in segments)})
        stored = {asset_id: asset_of(asset_id, row) for _, asset_id, row in rows}
        assets, segments = to_fill(stored, assets, segments)
    _put_segments(db, views, lanes, segments)
    _put_assets(db, lanes, assets)


def remove(db: Connection, asset_ids: Iterable[str]) -> None:
    """Remove assets and their segments; unknown ids are ignored."""
    numbered = dict(among(db, NOS_OF_ASSETS, dict.fromkeys(asset_ids)))
    remove_segments(db, list(numbered))
    for table in ("location", "label", "asset"):
        db.executemany(f"DELETE FROM {table} WHERE no = ?", [(no,) for no in numbered])
    _note(db, NAMES, numbered.values())
    _note_changes(db, numbered)


def remove_segments(db: Connection, nos: Sequence[int], lanes: Ids[int] | None = None) -> None:
    """Remove the segments of the assets of these numbers, of some lanes or of all."""
    keys = dict(among(db, "SELECT at, key FROM segment WHERE no IN ({})", nos))
    if lanes is not None:
        own_parts = _parts_of(db, lanes)
        keys = {at: key for at, key in keys.items() if part_of(at) in own_parts}
    _bury(db, list(keys))
    sql = "SELECT part, space FROM part JOIN lane USING (lane) WHERE modality = ? AND number = 0"
    for part_no, space in db.execute(sql, (TEXT,)).fetchall():
        texts = [key_of(key) for at, key in keys.items() if part_of(at) == part_no]
        _note(db, words_in(space), texts)


def leave_former_lanes(db: Connection, lanes: StoreLanes, asset_ids: Sequence[str]) -> None:
    """Remove segments of assets from lanes that are not searched, where they count no more."""
    numbers = LaneNumbers(db, lanes)
    former = numbers.all.keys() - numbers.searched.keys()
    rows = {no: row for no, _, row in _stored(db, asset_ids)}
    remove_segments(db, list(rows), former)
    for no, row in rows.items():
        fields = json.loads(row)
        counts = fields[_COUNTS].items()
        fields[_COUNTS] = {lane: n for lane, n in counts if int(lane) not in former}
        db.execute("UPDATE asset SET row = ? WHERE no = ?", (json.dumps(fields), no))


def drop_empty_parts(db: Connection) -> None:
    """Have nobody read files without a row that counts, which may be lost."""
    empty = (
        "SELECT part FROM part WHERE NOT EXISTS (SELECT * FROM segment "
        f"WHERE at >= part << {SLOT_BITS} AND at < part + 1 << {SLOT_BITS})"
    )
    for (part_no,) in db.execute(empty).fetchall():
        _drop_part(db, part_no)


def drop_lane(db: Connection, space: str, modality: str) -> int:
    """Have nobody count or find what is in a lane any more; return its number."""
    number = _lane(db, space, modality)
    db.execute("UPDATE lane SET space = ? WHERE lane = ?", (f"{DROPPED}{number}", number))
    if modality == TEXT:
        db.execute("DELETE FROM unread WHERE source = ?", (words_in(space),))
    unused = "DELETE FROM space WHERE space = ?1 AND ?1 NOT IN (SELECT space FROM lane)"
    db.execute(unused, (space,))
    return number


def remove_some(db: Connection, lane: int) -> int:
    """Remove some segments of a dropped lane, and at last the lane; return how many rows it was."""
    for part_no in sorted(_parts_of(db, [lane])):
        whole = (place_of(part_no, 0), place_of(part_no + 1, 0))
        sql = "SELECT at FROM segment WHERE at >= ? AND at < ? LIMIT ?"
        places = [at for (at,) in db.execute(sql, (*whole, MOVED_AT_ONCE))]
        if places:
            _bury(db, places)
            return len(places)
        _drop_part(db, part_no)
    db.execute("DELETE FROM lane WHERE lane = ?", (lane,))
    return 0


def move_some(db: Connection, views: Views) -> None:
    """Move some rows of files of which more than half is dead to new ones; readers keep the old."""
    if (source := scattered(db)) is None:
        return
    part_no, lane, number, n_slots, total, embed_dim = source
    if _open_part(db, lane, number)[0] == part_no:
        _new_part(db, lane, number)
    target_no, start, target_total = _open_part(db, lane, number)
    views.files(part_no, embed_dim).nos(n_slots, total)
    live = db.execute(
        "SELECT at, no FROM segment WHERE at >= ? AND at < ? ORDER BY at LIMIT ?",
        (place_of(part_no, 0), place_of(part_no + 1, 0), MOVED_AT_ONCE),
    ).fetchall()
    if live:
        slots = np.array([slot_of(at) for at, _ in live])
        nos = np.array([no for _, no in live], np.int32)
        rows = views.files(part_no, embed_dim).rows(slots)
        target_total = views.files(target_no, embed_dim).append(start, rows, nos, target_total)
        db.executemany(
            "UPDATE segment SET at = ? WHERE at = ?",
            [(place_of(target_no, start + n), at) for n, (at, _) in enumerate(live)],
        )
        _grow(db, target_no, len(live), target_total)
        _count_dead(db, [at for at, _ in live])
    if len(live) < MOVED_AT_ONCE:
        _drop_part(db, part_no)


def _drop_part(db: Connection, part_no: int) -> None:
    whole = (place_of(part_no, 0), place_of(part_no + 1, 0))
    db.execute("DELETE FROM dead WHERE at >= ? AND at < ?", whole)
    db.execute("DELETE FROM part WHERE part = ?", (part_no,))


def scattered(db: Connection) -> tuple[int, int, int, int, int, int] | None:
    """A part to move away from: one that was begun with, or the most scattered one."""
    sql = (
        "SELECT part, lane, number, n_slots, sum, embed_dim FROM part AS old "
        "JOIN lane USING (lane) JOIN space USING (space) "
        "WHERE n_slots - n_live > max(?, n_live) OR (n_slots > 0 AND part < "
        "(SELECT max(part) FROM part WHERE lane = old.lane AND number = old.number)) "
        "ORDER BY part LIMIT 1"
    )
    row = db.execute(sql, (CHUNK,)).fetchone()
    return row and (row[0], row[1], row[2], row[3], row[4], row[5])


def _put_segments(
    db: Connection, views: Views, lanes: StoreLanes, segments: Sequence[SegmentRow]
) -> None:
    last = {stored_key(row.key): row for row in segments}
    nos = _numbers(db, {row.asset_id for row in last.values()})
    former = among(db, "SELECT at FROM segment WHERE key IN ({})", last)
    _bury(db, [at for (at,) in former])
    by_kind: dict[tuple[Modality, int], list[tuple[bytes | str, SegmentRow]]] = {}
    for key, row in last.items():
        by_kind.setdefault((row.modality, row.row), []).append((key, row))
    for (modality, number), rows in by_kind.items():
        space = lanes.space(modality)
        lane = _lane(db, space.fingerprint, modality)
        part_no, start, total = _open_part(db, lane, number)
        vectors = np.stack([row.embedding for _, row in rows])
        of = [nos[row.asset_id] for _, row in rows]
        files = views.files(part_no, space.embed_dim)
        total = files.append(start, vectors, np.array(of, np.int32), total)
        db.executemany(
            _SEGMENT,
            [
                (place_of(part_no, at), key, no, packed(row.index, row.row), *said_of(row)[:-1])
                for at, ((key, row), no) in enumerate(zip(rows, of, strict=True), start)
            ],
        )
        _grow(db, part_no, len(rows), total)
    texts = [row.key for row in last.values() if row.modality == TEXT and not row.row]
    _note(db, words_in(lanes.space(TEXT).fingerprint), texts)


def _stored(db: Connection, asset_ids: Ids[str]) -> Iterator[tuple[int, str, str]]:
    """Number, id and commit row of these assets, as far as they are stored."""
    sql = "SELECT no, asset_id, row FROM asset WHERE row IS NOT NULL AND asset_id IN ({})"
    return among(db, sql, asset_ids)


def _lane(db: Connection, space: str, modality: str) -> int:
    """The number of a lane, which is new if need be."""
    sql = "SELECT lane FROM lane WHERE space = ? AND modality = ?"
    if row := db.execute(sql, (space, modality)).fetchone():
        return int(row[0])
    db.execute("INSERT INTO lane (space, modality) VALUES (?, ?)", (space, modality))
    return _lane(db, space, modality)


def _by_number(db: Connection, counts: Counts) -> dict[int, int]:
    return {_lane(db, space, modality): n for (space, modality), n in counts.items()}


def _parts_of(db: Connection, lanes: Ids[int]) -> set[int]:
    parts = among(db, "SELECT part FROM part WHERE lane IN ({})", lanes)
    return {part_no for (part_no,) in parts}


def _note(db: Connection, source: str, ids: Iterable[str]) -> None:
    """Have the words of these texts or names read again."""
    insert = "INSERT INTO unread (source, id) VALUES (?, ?)"
    db.executemany(insert, [(source, unread_id) for unread_id in ids])


def _note_changes(db: Connection, nos: Iterable[int]) -> None:
    version = version_of(db) + 1
    insert = "INSERT INTO changed (version, no) VALUES (?, ?)"
    db.executemany(insert, [(version, no) for no in nos])
    forget = "DELETE FROM changed WHERE seq <= (SELECT max(seq) FROM changed) - ?"
    db.execute(forget, (_N_CHANGES,))


def _put_assets(db: Connection, lanes: StoreLanes, assets: Sequence[AssetRow]) -> None:
    numbers = LaneNumbers(db, lanes)
    rows = _stored(db, [row.asset_id for row in assets])
    stored = {asset_id: json.loads(row)[_COUNTS] for _, asset_id, row in rows}
    values = []
    for row in assets:
        counts = lanes.changed(numbers.stored(stored.get(row.asset_id, {})), row.counts)
        values.append((row.asset_id, *asset_values(row, _by_number(db, counts))))
    db.executemany(_ASSET, values)
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
    _note(db, NAMES, list(nos))
    _note_changes(db, nos.values())


def _numbers(db: Connection, asset_ids: Iterable[str]) -> dict[str, int]:
    """The number of each; an unknown one gets a row without a commit row."""
    ids = sorted(asset_ids)
    db.executemany(
        "INSERT INTO asset (asset_id) VALUES (?) ON CONFLICT DO NOTHING",
        [(asset_id,) for asset_id in ids],
    )
    return {asset_id: no for no, asset_id in among(db, NOS_OF_ASSETS, ids)}


def _bury(db: Connection, places: Sequence[int]) -> None:
    """Remove rows; their slots stay, and no longer count."""
    db.executemany("DELETE FROM segment WHERE at = ?", [(at,) for at in places])
    _count_dead(db, places)


def _count_dead(db: Connection, places: Sequence[int]) -> None:
    db.executemany("INSERT INTO dead (at) VALUES (?)", [(at,) for at in places])
    for part_no, n in Counter(part_of(at) for at in places).items():
        db.execute("UPDATE part SET n_live = n_live - ? WHERE part = ?", (n, part_no))


def _open_part(db: Connection, lane: int, number: int) -> tuple[int, int, int]:
    """The part to which rows of this kind are added, its slots and their checksum."""
    sql = (
        "SELECT part, n_slots, sum FROM part WHERE lane = ? AND number = ? "
        "ORDER BY part DESC LIMIT 1"
    )
    part = db.execute(sql, (lane, number)).fetchone()
    return part or (_new_part(db, lane, number), 0, 0)


def _new_part(db: Connection, lane: int, number: int) -> int:
    """A number that no part ever had: files of an old part may still exist."""
    part_no = 1 + (fact(db, "last_part") or 0)
    set_fact(db, "last_part", part_no)
    db.execute("INSERT INTO part VALUES (?, ?, ?, 0, 0, 0)", (part_no, lane, number))
    return part_no


def _grow(db: Connection, part_no: int, n_rows: int, total: int) -> None:
    db.execute(
        "UPDATE part SET n_slots = n_slots + ?, n_live = n_live + ?, sum = ? WHERE part = ?",
        (n_rows, n_rows, total, part_no),
    )
