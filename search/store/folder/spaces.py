"""What a folder notes of its spaces: size, probes and calibration of each."""

from __future__ import annotations

import json

from search.store import calibrated
from search.store.calibrated import StoredCalibration
from search.store.folder.database import Connection, Database
from search.store.lanes import StoredSpace, StoreLanes


def noted_lanes(database: Database, lanes: StoreLanes) -> tuple[StoreLanes, bool]:
    """The lanes with what is noted of their spaces, and whether all of these are noted.

    Raises:
        SpaceMismatchError, ModelError: a space is not the one that was noted by its name.
    """
    with database.tolerating(), database.reading() as db:
        rows = db.execute("SELECT space, embed_dim, probes FROM space").fetchall()
    noted = {space: (embed_dim, json.loads(probes)) for space, embed_dim, probes in rows}

    def as_noted(space: StoredSpace) -> StoredSpace:
        return space.as_noted(noted.get(space.fingerprint), database.shown)

    return lanes.resolved(as_noted), lanes.spaces.keys() <= noted.keys()


def note_spaces(db: Connection, lanes: StoreLanes) -> None:
    """Note those that are not noted yet."""
    for space in lanes.spaces.values():
        text = calibrated.written(calibrated.unmeasured(space.calibration))
        db.execute(
            "INSERT OR IGNORE INTO space VALUES (?, ?, ?, ?)",
            (space.fingerprint, space.embed_dim, text, json.dumps(space.probes)),
        )


def noted_calibration(database: Database, space: StoredSpace) -> StoredCalibration:
    sql = "SELECT calibration FROM space WHERE space = ?"
    with database.reading() as db:
        row = db.execute(sql, (space.fingerprint,)).fetchone()
    return calibrated.read(row[0]) if row else calibrated.unmeasured(space.calibration)
