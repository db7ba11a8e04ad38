"""Steady throughput of the bundles on one core, and the memory of the process.

Each kind of content runs in float32 and in int8, each in a separate process that is pinned to one
core: a warm-up, then rounds of one batch each; the median round counts, in processor time. Run by
``make bench-throughput``.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable
from itertools import product
from time import process_time

import numpy as np

from benchmarks.harness.reporting import Bar, in_own_process
from benchmarks.harness.results_pages import table, write_section
from benchmarks.harness.timing import peak_resident_bytes
from encoder.types import AUDIO, IMAGE, TEXT, Item, Waveform

_ROUNDS = 7
_BATCH = 32
SHORT, LONGER, PICTURES, SOUNDS = "short texts", "texts of 32 tokens", "pictures", "sounds"
BARS = {
    "english": {SHORT: 60.0, PICTURES: 25.0, SOUNDS: 6.0},
    "multilingual": {LONGER: 300.0, PICTURES: 80.0, SOUNDS: 12.0},
}
"""Bars on items per second in int8."""
PRECISIONS = {"float32": None, "int8": "int8"}


_WORDS = (
    "a red boat lies on the quiet lake while two children feed some hungry ducks near the old "
    "wooden bridge and a dog"
).split()


def texts() -> list[Item]:
    """Short texts of 6 to 16 words."""
    return [Item(TEXT, f"{i} " + " ".join(_WORDS[: 5 + i % 11])) for i in range(_BATCH)]


def longer_texts() -> list[Item]:
    """Texts of 31 or 32 tokens of e5, its prompt included, and 24 or 25 of MiniLM."""
    return [Item(TEXT, f"{i} " + " ".join(_WORDS[i % 2 : 22])) for i in range(_BATCH)]


def images() -> list[Item]:
    """Pictures of 500 × 375 pixels, as ingest hands them over."""
    rng = np.random.default_rng(0)
    return [Item(IMAGE, rng.integers(0, 256, (375, 500, 3), np.uint8)) for _ in range(_BATCH)]


def sounds() -> list[Item]:
    """Sounds of five seconds at 44.1 kHz: coloured noise and tones, no speech."""
    rng = np.random.default_rng(0)
    time_s = np.arange(5 * 44_100) / 44_100
    tones = [np.sin(2 * np.pi * (200 + 90 * i) * time_s) for i in range(8)]
    noisy = [0.2 * tone + 0.1 * rng.normal(size=time_s.size) for tone in tones]
    return [Item(AUDIO, Waveform(sound.astype(np.float32), 44_100)) for sound in noisy]


CONTENT: dict[str, Callable[[], list[Item]]] = {
    SHORT: texts,
    LONGER: longer_texts,
    PICTURES: images,
    SOUNDS: sounds,
}


def measure(bundle: str, content: str, precision: str) -> dict[str, float]:
    """Items per processor second (median round), and the peak memory of this process in MB."""
    from encoder import MultiModalEncoder

    encoder = MultiModalEncoder(
        f"bundle:{bundle}", quantization=PRECISIONS[precision], enable_dsre=False
    )
    items = CONTENT[content]()
    encoder.encode_items(items)
    rounds_s = []
    for _ in range(_ROUNDS):
        started = process_time()
        encoder.encode_items(items)
        rounds_s.append(process_time() - started)
    rate = len(items) / statistics.median(rounds_s)
    return {"rate": rate, "memory_mb": peak_resident_bytes() / 2**20}


def main() -> None:
    """Measure everything in fresh processes on one core, and write the section."""
    load = os.getloadavg()[0]
    rows = [_row(*what) for what in product(BARS, CONTENT, PRECISIONS)]
    headings = ["bundle", "content", "precision", "items/s", "peak memory of the process, MB"]
    body = (
        f"Items per processor second, medians of {_ROUNDS} rounds; load of the machine {load:.1f}."
        f"\n\n{table(headings, rows)}"
    )
    write_section("Throughput on one core", "make bench-throughput", body)
    print(body)


def _row(bundle: str, content: str, precision: str) -> list[str]:
    seen = in_own_process("benchmarks.towers.throughput", bundle, content, precision)
    rate, memory_mb = seen["rate"], seen["memory_mb"]
    bar = BARS[bundle].get(content) if precision == "int8" else None
    shown = Bar(at_least=bar).beside(rate, ".1f") if bar else f"{rate:.1f}"
    return [bundle, content, precision, shown, f"{memory_mb:.0f}"]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(json.dumps(measure(*sys.argv[1:])))
    else:
        main()
