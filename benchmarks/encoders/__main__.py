"""Our encoder compared with sentence-transformers and fastembed, on the same weights.

    python -m benchmarks.encoders SENTENCE_TRANSFORMERS FASTEMBED  # Pythons that have them

Run by ``make bench-encoders``, which makes the environments. Models stay in ``.demo/encoders``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from benchmarks.encoders.checkpoint import saved_e5, texts_of
from benchmarks.harness.reporting import note
from benchmarks.harness.results_pages import table, write_section
from benchmarks.harness.timing import Times, take_turns
from benchmarks.models.peers import BACKENDS, cpu_s, peers, versions
from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.types import TEXT, Item

Encode: TypeAlias = Callable[[list[str]], np.ndarray[Any, Any]]

PRECISIONS = {"ours, int8": "int8", "ours, float32": None}
_BASELINE = BACKENDS[0]
_ROUNDS, _TURNS_S = (5, 15), 40.0
"""The least and the most rounds, and the seconds that they should take."""
_HEAD = ("what", "runs on", "CPU-ms", "times torch", "ms", "cosine")

_ABOUT = """\
From texts to vectors, on one thread: multilingual-e5-small with the bundle's weights and its
prompt; theirs have these in float32, but `onnx-int8`. Medians of rounds in which all take turns;
each of theirs runs in a process of its own, which hands items and vectors over a pipe. "times
torch" is the median of the ratios within rounds to sentence-transformers' CPU-seconds, with the
middle 80 % of them. The cosine is the least to sentence-transformers in torch. A row without
figures says why."""


def main() -> None:
    """Measure, print, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    for library in ("sentence_transformers", "fastembed"):
        parser.add_argument(library, help="a Python that has it")
    given = parser.parse_args()
    pythons = dict.fromkeys(BACKENDS, given.sentence_transformers) | {"fastembed": given.fastembed}
    before, source = _load(), saved_e5()
    rows = _rows(texts_of(source), source, pythons)
    busy = (
        f"Load of the machine {before}, at the end {_load()}; it has {os.cpu_count()} cores, "
        f"of which this might use {len(os.sched_getaffinity(0))}, at niceness {os.nice(0)}."
    )
    theirs = "\n".join(f"- {one}" for one in versions(set(pythons.values())))
    body = "\n".join([_ABOUT, busy, "", "Theirs:", "", theirs, "", table(_HEAD, rows)])
    print(body, flush=True)
    write_section("Encoders beside others: texts", "make bench-encoders", body)


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def _rows(
    workloads: Mapping[str, list[str]], source: Path, pythons: Mapping[str, str]
) -> list[Sequence[object]]:
    """A row for each workload and way, with figures or the reason why there are none."""
    rows: list[Sequence[object]] = []
    with peers(source, 1, pythons) as (others, missing):
        encoders = {who: _bundle(name) for who, name in PRECISIONS.items()} | {
            who: peer.encode for who, peer in others.items()
        }
        for what, items in workloads.items():
            note(f"{what}: {', '.join(encoders)}")
            ways = {who: Way(encode, items) for who, encode in encoders.items()}
            cpu = _timed(ways, partial(cpu_s, others.values()))
            rows += [[what, who, *_figures(who, ways, cpu)] for who in ways]
            rows += [[what, who, *_why(reason)] for who, reason in missing.items()]
    return rows


class Way:
    """One way to encode the items of a workload, run again and again until it fails."""

    def __init__(self, encode: Encode, items: list[str]) -> None:
        self._encode, self._items = encode, items
        self.walls_s, self.failure = list[float](), ""
        self.vectors: np.ndarray[Any, Any] = np.empty(0)

    def __call__(self) -> None:
        """Encode all items; once it has failed, do nothing."""
        if self.failure:
            return
        start = perf_counter()
        try:
            self.vectors = self._encode(self._items)
        except RuntimeError as error:
            self.failure = str(error)
        self.walls_s.append(perf_counter() - start)


def _timed(ways: Mapping[str, Way], clock: Callable[[], float]) -> Times:
    """CPU-seconds; the first two runs warm up and show how many rounds fit."""
    for way in ways.values():
        way()
    start = perf_counter()
    for way in ways.values():
        way()
    n_rounds = int(np.clip(_TURNS_S / (perf_counter() - start), *_ROUNDS))
    return take_turns(ways, n_rounds=n_rounds, n_warm_up=0, clock=clock)


def _figures(who: str, ways: Mapping[str, Way], cpu: Times) -> Sequence[str]:
    way, torch = ways[who], ways.get(_BASELINE)
    if way.failure:
        return _why(way.failure)
    gain = cosine = ""
    if torch and not torch.failure:
        gain = "" if torch is way else str(cpu.speedup(who, _BASELINE))
        cosine = f"{(way.vectors * torch.vectors).sum(axis=1).min():.5f}"
    return [f"{cpu.median_ms(who):.1f}", gain, f"{1e3 * median(way.walls_s[2:]):.1f}", cosine]


def _why(reason: str) -> Sequence[str]:
    """The cells of a row without figures."""
    return [reason.replace("|", "/"), "", "", ""]


def _bundle(precision: str | None) -> Encode:
    encoder = MultiModalEncoder(
        "bundle:multilingual",
        quantization=precision,
        enable_dsre=False,
        config=EncoderConfig(n_threads=1),
    )
    # the encoder adds the prompt that others are given
    return lambda items: encoder.encode_items(
        [Item(TEXT, item.removeprefix("passage: ")) for item in items]
    )


if __name__ == "__main__":
    main()
