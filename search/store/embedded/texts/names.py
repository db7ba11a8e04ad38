"""The names of assets: the tables list the assets whose commit row has changed."""

from __future__ import annotations

import sqlite3

from search.lexical.index import Text
from search.lexical.names import text_of
from search.store.embedded.rows import asset_of
from search.store.embedded.tables import LIST_ALL_NAMES, fact, marks
from search.store.embedded.texts.kept import Unread


class Names:
    """See `search.store.embedded.texts.kept.Source`."""

    name = "names"

    def n_left(self, db: sqlite3.Connection) -> int:
        """How many changes have not been read."""
        (n,) = db.execute("SELECT count(*) FROM unnamed").fetchone()
        return int(n)

    def unread(self, db: sqlite3.Connection, limit: int) -> Unread:
        """The oldest changes; an asset whose file is gone has no names, nor has a deleted one."""
        sql = "SELECT seq, asset_id FROM unnamed ORDER BY seq LIMIT ?"
        listed = db.execute(sql, (limit,)).fetchall()
        ids = list({asset_id for _, asset_id in listed})
        found = db.execute(
            f"SELECT asset_id, row FROM asset WHERE row IS NOT NULL AND asset_id IN ({marks(ids)})",
            ids,
        ).fetchall()
        texts = {one: Text(one, "", "") for one in ids}
        rows = [asset_of(*one) for one in found]
        texts |= {row.asset_id: text_of(row) for row in rows if not row.is_gone}

        def note(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM unnamed WHERE seq <= ?", (listed[-1][0],))

        return Unread(list(texts.values()), [], fact(db, "names_epoch") is None, note)

    def again(self, db: sqlite3.Connection) -> None:
        """List all assets as changed."""
        db.execute("DELETE FROM unnamed")
        db.execute(LIST_ALL_NAMES)
