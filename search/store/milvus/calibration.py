"""The constants by which a collection's rows are stored, and the change to others.

They are noted with the collection, where every process reads them. Rows are rewritten without
encoding anything: a row holds its vector, whatever its constants. Meanwhile, the collection has
rows of both kinds, and each names its constants (`search.store.calibrated.number_of`); a filter
finds the rows that are left, so that a rewrite that was killed continues where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from threading import Lock
from typing import Any

from search.errors import StoreError
from search.store.calibrated import Constants, StoredCalibration, number_of
from search.store.checking import Progress
from search.store.milvus.notes import calibration_of, keep_calibration
from search.store.milvus.rows import MilvusRows, Rows
from search.store.schema import (
    partition_of_row,
    recalibrated,
    whole_row,
)

REFRESH_S = 2.0
"""How long a process uses the constants that it has read."""
_PAUSE_S = 3.0
"""The time from announcing new constants to rewriting the first row: `REFRESH_S` and a search."""
_PAUSE_ALONE_S = 0.5
"""The same where no other process uses the store."""
_PAGE_BYTES = 8_000_000
_SCALARS_BYTES = 1024
_ROWS_PER_PAGE = 1000
_LEAST_ROWS = 50
_WRITE_S = 0.1
"""About how long one write may keep searches waiting."""
_REST = 2.0
"""After each write, only searches use the store, for this many times as long as it took."""


class MilvusCalibration:
    """Reads and changes the constants of the segments. Safe to use from threads.

    ``is_alone`` says that no other process can have the store open.
    """

    def __init__(self, rows: MilvusRows, *, is_alone: bool) -> None:
        self._rows = rows
        self._link = rows.link
        self._segments = rows.segments
        self._pause_s = _PAUSE_ALONE_S if is_alone else _PAUSE_S
        self._lock = Lock()
        self._reading = Lock()
        self._read_at_s = 0.0
        self._n_at_once = _LEAST_ROWS
        self._state = self.refresh()

    def current(self) -> StoredCalibration:
        """As it was at most `REFRESH_S` ago."""
        if self._is_old():
            with self._reading:  # one reads for all: a search asks in several threads
                if self._is_old():
                    return self.refresh()
        return self._state

    def _is_old(self) -> bool:
        return time.monotonic() >= self._read_at_s + REFRESH_S

    def refresh(self) -> StoredCalibration:
        """As it is now."""
        read_at_s = time.monotonic()
        state = calibration_of(self._link, self._rows.name(self._segments))
        with self._lock:
            if read_at_s >= self._read_at_s:
                self._state, self._read_at_s = state, read_at_s
        return state

    def announce(self, constants: Constants, origin: Mapping[str, Any]) -> None:
        """From now on, rank and write by these constants; `rewrite` converts the other rows."""
        self._write(self.refresh().changed(constants, origin))

    def rewrite(self, progress: Progress, whole: Callable[[], AbstractContextManager[None]]) -> int:
        """Convert all rows to the constants that were announced; return how many there were.

        ``whole`` keeps all others from writing while a page of rows is read and written. If others
        were announced meanwhile, or the store fails, what was rewritten stays.
        """
        state = self.refresh()
        if not state.former:
            return 0
        time.sleep(self._pause_s)
        self._link.catch_up()
        n_rows = self._rows.count(self._segments, self._is_left(state))
        n_done = 0
        while self._goes_on(state):
            with whole():
                page = self._page(state)
                if not page:
                    self._write(replace(state, former=()))
                    return n_done
                self._replace(page, state.constants)
            n_done += len(page)
            progress(n_done, max(n_rows, n_done))
        return n_done

    def _is_left(self, state: StoredCalibration) -> str:
        return f"calibration != {number_of(state.constants)}"

    def _page(self, state: StoredCalibration) -> Rows:
        """Some rows that still have to be rewritten, in any order."""
        self._link.catch_up()
        embed_bytes = 4 * int(self._segments.fields[-1].params["dim"])
        rows: Rows = self._rows.read(
            "query",
            self._segments,
            filter=self._is_left(state),
            limit=max(100, min(_ROWS_PER_PAGE, _PAGE_BYTES // (embed_bytes + _SCALARS_BYTES))),
            output_fields=self._segments.whole,
        )
        return [whole_row(row) for row in rows]

    def _replace(self, page: Rows, constants: Constants) -> None:
        for partition in {partition_of_row(row) for row in page}:
            partition_rows = [row for row in page if partition_of_row(row) == partition]
            self._write_gently([recalibrated(row, constants) for row in partition_rows], partition)

    def _write_gently(self, rows: Rows, partition: str) -> None:
        """Write in parts that take about `_WRITE_S`, with rests between them."""
        done = 0
        while batch := rows[done : done + self._n_at_once]:
            begun_s = time.monotonic()
            self._rows.upsert(self._segments, batch, partition_name=partition)
            self._rows.flush(self._segments)
            took_s = time.monotonic() - begun_s
            done += len(batch)
            faster = min(2.0, _WRITE_S / max(took_s, 1e-3))
            self._n_at_once = min(max(_LEAST_ROWS, int(len(batch) * faster)), _ROWS_PER_PAGE)
            time.sleep(_REST * took_s)

    def _goes_on(self, state: StoredCalibration) -> bool:
        """Whether rows may be left; not if another process finished the same rewrite."""
        stored = self.refresh()
        if stored.constants != state.constants:
            raise StoreError(
                f"Another calibration of the store {self._link.shown} started in the meantime.",
                remedy="Wait for it to end; if it does not, run `anymodal store calibrate` again.",
            )
        return bool(stored.former)

    def _write(self, state: StoredCalibration) -> None:
        keep_calibration(self._link, self._rows.name(self._segments), state)
        self.refresh()
