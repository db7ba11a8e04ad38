"""A session of ONNX Runtime that notes how long its operators take."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from encoder.runtime.onnx import OnnxSession


class ProfiledSession(OnnxSession):
    """An `OnnxSession` for a few runs of one thread, then `close`."""

    def __init__(self, path: Path, *, n_threads: int | None = None) -> None:
        self._scratch = TemporaryDirectory()
        super().__init__(path, n_threads=n_threads, profile_to=Path(self._scratch.name) / "runs")

    def close(self, function: str) -> list[float]:
        """End the session.

        Args:
            function: of the model, all of whose body is one ``If``.

        Returns:
            For each run, in order, what its calls took: milliseconds of the clock.
        """
        with self._scratch:
            events = json.loads(Path(self._session.end_profiling()).read_text("utf-8"))
        return list(times_of(events, function))


def times_of(events: Sequence[Mapping[str, Any]], function: str) -> Iterator[float]:
    """Sum the calls of a function over each run, in milliseconds.

    ONNX Runtime puts the body where the call was, and the function's name into the names of its
    nodes. So a call is an ``If`` during which such a node runs.

    Args:
        events: as ONNX Runtime writes them, times in microseconds.
        function: see `ProfiledSession.close`.
    """
    nodes = [event for event in events if event["cat"] == "Node"]
    choices = [(one["ts"], one["dur"]) for one in nodes if one["args"].get("op_name") == "If"]
    inside = sorted(
        one["ts"] for one in nodes if function in one["name"] and one["args"]["op_name"] != "If"
    )
    calls = [
        (start, took)
        for start, took in choices
        if bisect_left(inside, start) < bisect_left(inside, start + took)
    ]
    runs = [(one["ts"], one["dur"]) for one in events if one["name"] == "model_run"]
    for start, lasted in sorted(runs):
        yield sum(took for at, took in calls if start <= at < start + lasted) / 1e3
