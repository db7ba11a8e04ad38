"""A library of 10,000 files, each of which is renamed: what the next ingest costs.

Nine tenths are texts, one tenth pictures. Run by ``make bench-renaming``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.harness.results_pages import table, write_section

N_FILES = 10_000
_WORDS = "river mountain engine bread harvest violin storm galaxy lantern harbour market".split()


def make_library(folder: Path, n_files: int = N_FILES) -> None:
    """Write ``n_files`` different files, 100 to a folder."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(n_files):
        place = folder / f"{number // 100:03d}"
        place.mkdir(parents=True, exist_ok=True)
        if number % 10:
            words = " ".join(rng.choice(_WORDS, 12))
            (place / f"{number}.txt").write_text(f"{number} {words}")
        else:
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((320, 240)).save(place / f"{number}.jpg")


def rename_all(folder: Path) -> None:
    """Give each file and each folder a new name."""
    for place in sorted(folder.iterdir()):
        for file in sorted(place.iterdir()):
            file.rename(file.with_name(f"new-{file.name}"))
        place.rename(place.with_name(f"new-{place.name}"))


def main() -> None:
    """Ingest, ingest again, rename, ingest; write the section."""
    with tempfile.TemporaryDirectory() as scratch:
        media, store = Path(scratch) / "media", Path(scratch) / "store"
        make_library(media)
        runs = {"first": _ingest(media, store), "nothing changed": _ingest(media, store)}
        rename_all(media)
        runs["all renamed"] = _ingest(media, store)
    assert runs["all renamed"]["ingested"] == 0, "something was encoded"
    assert runs["all renamed"]["dropped"] == N_FILES
    stages = sorted({stage for run in runs.values() for stage in run["stage_s"]})
    rows = [
        [name, f"{run['wall_s']:.1f}", f"{run['cpu_s']:.1f}", run["ingested"]]
        + [f"{run['stage_s'].get(stage, 0):.1f}" for stage in stages]
        for name, run in runs.items()
    ]
    body = (
        f"{N_FILES:,} files, embedded store, `anymodal ingest --prune` in a process of its own. "
        "Seconds; stages are sums over two threads.\n\n"
        + table(["run", "wall time", "CPU time", "encoded", *stages], rows)
    )
    write_section("Renaming a library", "make bench-renaming", body)
    print(body)


def _ingest(media: Path, store: Path) -> Any:
    anymodal = Path(sys.executable).with_name("anymodal")
    before, started = getrusage(RUSAGE_CHILDREN), perf_counter()
    ran = subprocess.run(
        [anymodal, "ingest", media, "--store", store, "--prune", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    after = getrusage(RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(ran.stdout) | {"wall_s": perf_counter() - started, "cpu_s": cpu_s}


if __name__ == "__main__":
    main()
