"""An ONNX Runtime session that records how long its operators take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder.runtime.onnx import OnnxSession

MAX_RUNS = 128
"""ONNX Runtime drops all events after the first million, and a run of twelve layers with gates has
2,800."""


class ProfiledSession(OnnxSession):
    """An `OnnxSession` for up to `MAX_RUNS` runs from one thread, then `close`."""

    def __init__(self, path: Path, *, n_threads: int | None = None) -> None:
        self._scratch = TemporaryDirectory()
        super().__init__(path, n_threads=n_threads, profile_to=Path(self._scratch.name) / "runs")

    def close(self, function: str) -> list[float]:
        """End the session.

        Args:
            function: a function of the model, whose whole body is one ``If``.

        Returns:
            For each run, in order, the time its calls took: milliseconds of wall-clock time.
        """
        with self._scratch, Path(self._session.end_profiling()).open(encoding="utf-8") as events:
            return list(times_of(events, function))


def times_of(events: Iterable[str], function: str) -> Iterator[float]:
    """Sum the calls of a function over each run, in milliseconds.

    ONNX Runtime inlines the body at each call and puts the function's name into the names of the
    body's nodes. So a call is an ``If`` during which such a node runs. Events are written when they
    end: a body, its ``If``, more of these pairs, then the run. Each run writes half a megabyte, of
    which only a few lines are parsed.

    Args:
        events: the lines of a profile, as ONNX Runtime writes them.
        function: see `ProfiledSession.close`.
    """
    called, total_us = False, 0
    for line in events:
        if '"model_run"' in line:
            yield total_us / 1e3
            called, total_us = False, 0
        elif '"If"' in line:
            if called:
                total_us += json.loads(line.rstrip().rstrip(","))["dur"]
            called = False
        elif function in line:
            called = True
