"""What a folder notes of its spaces: size, probes and calibration of each."""

from __future__ import annotations

import json
import time
from functools import partial

from search.store import calibrated
from search.store.calibrated import StoredCalibration
from search.store.folder.database import Connection, Database, version_of
from search.store.lanes import StoredSpace, StoreLanes

_REFRESH_S = 2.0


class NotedSpaces:
    """The spaces of some lanes. Safe to use from threads.

    Raises:
        SpaceMismatchError, ModelError: a space is not the one that was noted by its name.
    """

    def __init__(self, database: Database, lanes: StoreLanes, store_name: str) -> None:
        self._database = database
        self._shown = store_name
        with database.tolerating(), database.reading() as db:
            self.lanes = lanes.resolved(partial(self._noted, db))
        self._read: dict[str, tuple[float, StoredCalibration]] = {}

    def lacks(self) -> bool:
        """Whether some are not noted."""
        sql = "SELECT space FROM space"
        with self._database.tolerating(), self._database.reading() as db:
            return not self.lanes.spaces.keys() <= {space for (space,) in db.execute(sql)}

    def note(self) -> int:
        """Note those that are not, while nobody else writes; return the version."""
        with self._database.writing() as db:
            for space in self.lanes.spaces.values():
                text = calibrated.written(calibrated.unmeasured(space.calibration))
                db.execute(
                    "INSERT OR IGNORE INTO space VALUES (?, ?, ?, ?)",
                    (space.fingerprint, space.embed_dim, text, json.dumps(space.probes)),
                )
            return version_of(db) + 1

    def _noted(self, db: Connection, space: StoredSpace) -> StoredSpace:
        """A space as large as it is noted, if it is."""
        sql = "SELECT embed_dim, probes FROM space WHERE space = ?"
        row = db.execute(sql, (space.fingerprint,)).fetchone()
        return space.as_noted(row and (row[0], json.loads(row[1])), self._shown)

    def scoring(self, space: str) -> StoredCalibration:
        """Read again every two seconds: a search asks a dozen times."""
        read_at_s, state = self._read.get(space, (0.0, None))
        if state is None or time.monotonic() >= read_at_s + _REFRESH_S:
            return self.calibration(space)
        return state

    def calibration(self, space: str) -> StoredCalibration:
        """As it is now; see `VectorStore.stored_calibration`."""
        read_at_s, sql = time.monotonic(), "SELECT calibration FROM space WHERE space = ?"
        known = self._space(space)
        with self._database.reading() as db:
            row = db.execute(sql, (known.fingerprint,)).fetchone()
        state = calibrated.read(row[0]) if row else calibrated.unmeasured(known.calibration)
        self._read[space] = read_at_s, state
        return state

    def recalibrate(self, db: Connection, state: StoredCalibration, space: str) -> None:
        sql = "UPDATE space SET calibration = ? WHERE space = ?"
        db.execute(sql, (calibrated.written(state), self._space(space).fingerprint))
        self._read.clear()

    def _space(self, space: str) -> StoredSpace:
        return self.lanes.spaces[space] if space else self.lanes.home
