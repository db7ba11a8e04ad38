"""What this process knows about the parts and the assets that a filter finds, as of one version."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection as Ids
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from pathlib import Path
from threading import Lock, RLock
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from search.filters import And, Compare, Filter, Not, Or, Under, matches
from search.filters.sqlite import Range, in_ranges, query_of
from search.store.folder.database import (
    NOS_OF_ASSETS,
    Connection,
    LaneNumbers,
    among,
    asset_of,
    part_of,
    slot_of,
    version_of,
)
from search.store.folder.vector_files import VectorFiles
from search.store.lanes import StoreLanes

Mask: TypeAlias = NDArray[np.bool_]
"""Which assets, by their numbers, or which slots."""
Leaf: TypeAlias = Compare | Under | Range
_KEPT = 64
_MOST_CHANGES = 500
"""With more changed assets, asking again takes less time than asking about each."""


@dataclass(frozen=True)
class PartView:
    """The slots of a lane's rows that have the same number.

    Args:
        part: its number in the tables.
        kind: the modality, and the number of the row.
        n_slots: how many slots there are.
        nos: the asset of each, [n_slots].
        live: which of them count; None for all.
        files: the vectors.
    """

    part: int
    kind: tuple[str, int]
    n_slots: int
    nos: NDArray[np.int32]
    live: Mask | None
    files: VectorFiles

    def wanted(self, assets: Mask | None) -> Mask | None:
        """The slots that count and are of these assets."""
        if assets is None:
            return self.live
        chosen: Mask = assets[self.nos]
        return chosen if self.live is None else chosen & self.live


@dataclass(frozen=True)
class View:
    """The parts that are searched by their numbers, and the number after the last asset's."""

    version: int
    parts: dict[int, PartView]
    n_assets: int

    def of(self, modality: str) -> list[PartView]:
        """The parts of a modality, row 0 first."""
        parts = [part for part in self.parts.values() if part.kind[0] == modality]
        return sorted(parts, key=lambda part: (part.kind, part.part))


class Views:
    """Keeps the view of the last version that was seen. Safe to use from threads."""

    def __init__(self, folder: Path, lanes: StoreLanes) -> None:
        self._folder = folder
        self._lanes = lanes
        self._lock = RLock()
        self._view = View(-1, {}, 0)
        self._files: dict[int, VectorFiles] = {}
        self._dead: dict[int, NDArray[np.int64]] = {}
        self._last_dead = 0
        self._masks: OrderedDict[str, tuple[Leaf, Mask]] = OrderedDict()
        self._asking: dict[str, Lock] = {}

    def current(self, db: Connection) -> View:
        """The view of what a reading connection sees; a connection that is older is moved on."""
        with self._lock:
            while (version := version_of(db)) < self._view.version:
                db.execute("COMMIT")
                db.execute("BEGIN")
            if version > self._view.version:
                former, self._view = self._view, self._read(db, version)
                self._carry_masks(db, former.version)
            return self._view

    @property
    def n_slots(self) -> int:
        """The number of slots of all parts, as of the last view."""
        return sum(view.n_slots for view in self._view.parts.values())

    def files(self, part_no: int, embed_dim: int) -> VectorFiles:
        """The files of a part, of embeddings of this size."""
        with self._lock:
            if part_no not in self._files:
                self._files[part_no] = VectorFiles(self._folder, part_no, embed_dim)
            return self._files[part_no]

    def _read(self, db: Connection, version: int) -> View:
        new_dead: dict[int, list[int]] = {}
        for seq, at in db.execute("SELECT seq, at FROM dead WHERE seq > ?", (self._last_dead,)):
            new_dead.setdefault(part_of(at), []).append(slot_of(at))
            self._last_dead = seq
        for part_no, slots in new_dead.items():
            former = self._dead.get(part_no, np.empty(0, np.int64))
            self._dead[part_no] = np.concatenate([former, np.array(slots, np.int64)])
        parts, lanes = {}, LaneNumbers(db, self._lanes)
        for part_no, lane, number, n_slots, total in db.execute(
            "SELECT part, lane, number, n_slots, sum FROM part"
        ):
            if lane in lanes.searched:
                modality = lanes.searched[lane]
                files = self.files(part_no, self._lanes.space(modality).embed_dim)
                nos, live = files.nos(n_slots, total), self._live(part_no, n_slots)
                parts[part_no] = PartView(part_no, (modality, number), n_slots, nos, live, files)
        (last,) = db.execute("SELECT max(no) FROM asset").fetchone()
        # A deleted asset's slots still name it, and it may have been the last one.
        asset_nos = [int(view.nos.max()) for view in parts.values() if view.n_slots]
        return View(version, parts, 1 + max(last or 0, *asset_nos, 0))

    def _carry_masks(self, db: Connection, version: int) -> None:
        """Ask again what filters find among the assets that changed since a version."""
        (oldest,) = db.execute("SELECT min(version) FROM changed").fetchone()
        sql = "SELECT DISTINCT no FROM changed WHERE version > ? LIMIT ?"
        changed = [no for (no,) in db.execute(sql, (version, _MOST_CHANGES + 1))]
        if version < 0 or len(changed) > _MOST_CHANGES or (oldest or 0) > version + 1:
            self._masks.clear()
            return
        n_assets = self._view.n_assets  # fewer than before if the last ones were deleted
        changed = [no for no in changed if no < n_assets]
        for name, (leaf, mask) in self._masks.items():
            carried = np.zeros(n_assets, bool)
            carried[: len(mask)] = mask[:n_assets]
            carried[changed] = False
            carried[_asked(db, leaf, changed)] = True
            self._masks[name] = leaf, carried

    def _live(self, part_no: int, n_slots: int) -> Mask | None:
        if part_no not in self._dead:
            return None
        live = np.ones(n_slots, bool)
        live[self._dead[part_no]] = False
        return live

    def assets(
        self,
        db: Connection,
        view: View,
        asset_ids: Ids[str] | None,
        filter: Filter | None,
    ) -> Mask | None:
        """The assets of these ids for which a filter holds; None for all."""
        mask = None
        if asset_ids is not None:
            mask = np.zeros(view.n_assets, bool)
            mask[[no for no, _ in among(db, NOS_OF_ASSETS, asset_ids)]] = True
        if filter is None:
            return mask
        matching = self._matching(db, view, filter)
        return matching if mask is None else matching & mask

    def _matching(self, db: Connection, view: View, filter: Filter | Range) -> Mask:
        match filter:
            case And(parts):
                return reduce(
                    and_, (self._matching(db, view, condition) for condition in in_ranges(parts))
                )
            case Or(parts):
                return reduce(or_, (self._matching(db, view, condition) for condition in parts))
            case Not(part):
                sql = "SELECT no FROM asset WHERE row IS NOT NULL"
                committed = np.zeros(view.n_assets, bool)
                committed[_numbers(db, sql)] = True
                return ~self._matching(db, view, part) & committed
            case Compare() | Under() | Range():
                return self._leaf(db, view, filter)

    def _leaf(self, db: Connection, view: View, leaf: Leaf) -> Mask:
        """Run each query once for all threads that ask: a search has a thread for each kind."""
        name = repr(leaf)  # in which True is not 1
        with self._lock:
            asking = self._asking.setdefault(name, Lock())
        with asking:
            with self._lock:
                if name in self._masks and view.version == self._view.version:
                    self._masks.move_to_end(name)
                    return self._masks[name][1]
            mask = np.zeros(view.n_assets, bool)
            mask[_asked(db, leaf)] = True
            with self._lock:
                self._asking.pop(name, None)
                if view.version == self._view.version:
                    self._masks[name] = leaf, mask
                    while len(self._masks) > _KEPT:
                        self._masks.popitem(last=False)
            return mask

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for files in self._files.values():
                files.close()
            self._files.clear()


def _asked(db: Connection, leaf: Leaf, nos: Sequence[int] | None = None) -> NDArray[np.int64]:
    """The numbers of the assets for which a comparison holds, of all or among some."""
    query = query_of(leaf)
    numbered = "" if nos is None else f"no IN ({', '.join(map(str, nos))})"
    if query is not None:
        where = numbered and f" WHERE {numbered}"
        return _numbers(db, f"SELECT no FROM ({query.sql}){where}", query.values)
    assert not isinstance(leaf, Range)
    sql = "SELECT no, asset_id, row FROM asset WHERE row IS NOT NULL"
    rows = db.execute(f"{sql} AND {numbered}" if numbered else sql)
    return np.array([no for no, *row in rows if matches(leaf, asset_of(*row))], np.int64)


def _numbers(db: Connection, sql: str, values: tuple[object, ...] = ()) -> NDArray[np.int64]:
    """Read as one text: a Python row for each number would take three times as long."""
    (text,) = db.execute(f"SELECT group_concat(no) FROM ({sql})", values).fetchone()
    return np.fromstring(str(text or ""), np.int64, sep=",")
