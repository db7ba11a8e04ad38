"""Steady throughput of the encoder on one core, and the memory of the process.

Each modality runs in float32 and in int8, each in a process of its own that is pinned to one core:
a warm-up, then rounds of one batch each; the median round counts. Run by ``make bench-throughput``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np

from encoder.types import AUDIO, IMAGE, TEXT, Item, Waveform

_ROUNDS = 7
_BATCH = 32
BARS = {"text": 60.0, "image": 25.0, "audio": 6.0}
PRECISIONS = {"float32": None, "int8": "int8"}


def texts() -> list[Item]:
    """Short texts of 6 to 16 words."""
    words = "a red boat lies on the quiet lake while two children feed some hungry ducks".split()
    return [Item(TEXT, f"{i} " + " ".join(words[: 5 + i % 11])) for i in range(_BATCH)]


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


CONTENT: dict[str, Callable[[], list[Item]]] = {"text": texts, "image": images, "audio": sounds}


def measure(modality: str, precision: str) -> tuple[float, float]:
    """Items per second (median round) and the peak memory in MB, of this process."""
    from resource import RUSAGE_SELF, getrusage

    from encoder import MultiModalEncoder

    encoder, items = (
        MultiModalEncoder(quantization=PRECISIONS[precision], enable_dsre=False),
        CONTENT[modality](),
    )
    encoder.encode_items(items)
    rounds_s = []
    for _ in range(_ROUNDS):
        started = perf_counter()
        encoder.encode_items(items)
        rounds_s.append(perf_counter() - started)
    return len(items) / statistics.median(rounds_s), getrusage(RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure every modality in a fresh process on one core, and write the section."""
    from benchmarks.results import table, write_section

    rows = []
    for modality, bar in BARS.items():
        for precision in PRECISIONS:
            ran = subprocess.run(
                [sys.executable, "-m", "benchmarks.throughput", modality, precision],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            rate, memory_mb = map(float, ran.stdout.split())
            rows.append([modality, precision, f"{rate:.1f}", f"≥ {bar:g}", f"{memory_mb:.0f}"])
    headings = ["modality", "precision", "items/s", "bar", "peak memory of the process, MB"]
    body = table(headings, rows)
    write_section("Throughput on one core", "make bench-throughput", body)
    print(body)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(*measure(*sys.argv[1:]))
    else:
        main()
