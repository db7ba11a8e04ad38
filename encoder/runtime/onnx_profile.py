"""A session of ONNX Runtime that notes how long its operators take."""

from __future__ import annotations

import json
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

    def close(self, operator: str) -> list[float]:
        """End the session.

        Args:
            operator: a kind of node, such as ``If``; what runs inside of it counts too.

        Returns:
            For each run, in order, what the nodes of this kind took: milliseconds of the clock.
        """
        with self._scratch:
            events = json.loads(Path(self._session.end_profiling()).read_text("utf-8"))
        return list(times_of(events, operator))


def times_of(events: Sequence[Mapping[str, Any]], operator: str) -> Iterator[float]:
    """Sum a profile's nodes of one kind over each run, in milliseconds.

    Args:
        events: as ONNX Runtime writes them, times in microseconds.
        operator: must not be nested in its own kind.
    """
    nodes = [
        (event["ts"], event["dur"])
        for event in events
        if event["cat"] == "Node" and event.get("args", {}).get("op_name") == operator
    ]
    runs = [(one["ts"], one["dur"]) for one in events if one["name"] == "model_run"]
    for start, lasted in sorted(runs):
        yield sum(took for at, took in nodes if start <= at < start + lasted) / 1e3
