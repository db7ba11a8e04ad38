"""A small machine: the folder of `make edge` under memory limits, and frames of a film.

Run by ``make bench-edge``, which needs root and cgroups. ``python -m benchmarks.memory.edge KIND
FILM`` is a process that encodes frames.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.harness.reporting import Bar, note
from benchmarks.harness.results_pages import table, write_section
from benchmarks.harness.timing import Times, on_one_core, peak_resident_bytes, resident_bytes
from encoder.towers.model import Model
from encoder.types import IMAGE

TORCH, ONNX, INT8 = "torch", "onnx", "int8"
KINDS = {TORCH: "torch fp32", ONNX: "ONNX Runtime fp32", INT8: 'ours, quantization="int8"'}
_FOLDER = Path(__file__).parents[2] / "edge" / platform.machine()
_LIMITS_MB = (4096, 1024)
_FRAMES_MB = 4096
_QUERIES = {"a cat": "cat.png", "--image=cat.png": "cat.png", "--audio=siren.mp3": "siren.mp3"}
_N_FRAMES, _N_ROUNDS, _N_FIRST = 100, 5, 5
_FASTER, _LESS = Bar(at_least=2.0), Bar(at_least=60.0)
_CGROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.peak"),
)
"""Version 1 and 2: where groups are, and a group's files for its limit and its peak."""

_ABOUT = """\
A limit is that of a cgroup, which the kernel holds all processes of the command to, with the
pages of files that they map. There is no swap. The folder of `make edge` has no torch. Under each
limit it ingests the {n} files of `make demo` (texts, pictures, sounds, speech, a film) with
`bundle:english`, and is asked for a cat by words, by a picture, and for a siren by sound; found is
what is among the first three hits. Peak is of the whole group, CPU-s are of all its processes."""
_FRAMES_ABOUT = """\
Protocol, written before the first run: the first {n} frames of the demo's film (480 × 360, H.264)
are decoded and encoded one by one, as those of a camera, by the picture tower of `bundle:english`,
in a fresh process under a limit of {mb} MB, on one thread and one core; frames per second of the
processor, the first {first} frames left out; {rounds} rounds, kinds taking turns, medians and the
middle 80 % of the rounds' ratios. Memory is resident, of the last round. The bars are beyond the
article's 8 → 15 frames per second and 3.8 → 2.1 GB on its device."""


def main() -> None:
    """Measure, print, and write the section."""
    with TemporaryDirectory() as name:
        media = Path(name) / "media"
        n_files = _make_samples(media)
        limited = [_ingest_and_search(mb, media, n_files) for mb in _LIMITS_MB]
        rounds = [_one_round(media / "film.mp4") for _ in range(_N_ROUNDS)]
    heads = ["limit, MB", "ingested", "found", "CPU-s of the ingest", "peak, MB"]
    about = _FRAMES_ABOUT.format(n=_N_FRAMES, mb=_FRAMES_MB, first=_N_FIRST, rounds=_N_ROUNDS)
    frame_heads = ["frames", "per second", "× torch fp32", "resident, MB", "peak, MB", "% below"]
    frames = table(frame_heads, list(frame_rows(rounds)))
    text = "\n\n".join([_ABOUT.format(n=n_files), table(heads, limited), about, frames])
    print(text)
    write_section("A film on a small machine", "make bench-edge", text)


def _make_samples(folder: Path) -> int:
    from examples.samples import make_samples

    samples = make_samples(folder)
    (folder / "SOURCES.md").unlink()
    return len(samples)


def _ingest_and_search(limit_mb: int, media: Path, n_files: int) -> list[object]:
    note(f"the folder in {limit_mb} MB")
    with TemporaryDirectory() as store, memory_limit(limit_mb) as group:
        before = os.times()
        report = _anymodal(group, "ingest", str(media), "--store", store)
        after = os.times()
        found = [_is_found(group, words, name, media, store) for words, name in _QUERIES.items()]
        peak_mb = group.peak_bytes() / 1e6
    cpu_s = sum(after[2:4]) - sum(before[2:4])
    ingested = f"{report['ingested']} of {n_files}"
    return [limit_mb, ingested, f"{sum(found)} of {len(found)}", f"{cpu_s:.0f}", f"{peak_mb:.0f}"]


def _is_found(group: Group, words: str, name: str, media: Path, store: str) -> bool:
    option, _, file = words.partition("=")
    asked = [option, str(media / file)] if file else [words, "--modality", "image"]
    hits = _anymodal(group, "search", *asked, "--store", store, "--limit", "3")["hits"]
    return any(Path(hit["uri"]).name == name for hit in hits)


def _anymodal(group: Group, command: str, *words: str) -> dict[str, Any]:
    told = group.run([str(_FOLDER / "anymodal"), command, *words, "--model=bundle:english"])
    found: dict[str, Any] = json.loads(told)
    return found


class Group:
    """A cgroup with a memory limit."""

    def __init__(self, folder: Path, peak: str) -> None:
        self._folder, self._peak = folder, peak

    def run(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
        """Run a command in the group, with its children; its output."""
        joined = 'echo 0 > "$0"; exec "$@"'
        done = subprocess.run(
            ["sh", "-c", joined, str(self._folder / "cgroup.procs"), *command],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, **(env or {})},
        )
        return done.stdout

    def peak_bytes(self) -> int:
        """The group's peak memory."""
        return int((self._folder / self._peak).read_text())


@contextmanager
def memory_limit(limit_mb: int) -> Iterator[Group]:
    """A cgroup whose processes share ``limit_mb`` times 2^20 bytes.

    Raises:
        SystemExit: there is no cgroup that limits memory, or no permission to make one.
    """
    for root, limit, peak in _CGROUPS:
        folder = root / f"anymodal-edge-{os.getpid()}"
        try:
            folder.mkdir()
            (folder / limit).write_text(str(limit_mb * 2**20))
        except OSError:
            if folder.is_dir():
                folder.rmdir()
            continue
        try:
            yield Group(folder, peak)
        finally:
            _remove(folder)
        return
    raise SystemExit("No cgroup can be made here that limits memory. Run this as root, on Linux.")


def _remove(folder: Path) -> None:
    """Remove a group; processes leave it a moment after they have ended."""
    for _ in range(50):
        try:
            return folder.rmdir()
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"Processes are left in {folder}. End them, then remove it with rmdir.")


def _one_round(film: Path) -> dict[str, dict[str, float]]:
    """The figures of each kind, taken in turn, so that other load on the machine affects all."""
    found = {}
    for kind in KINDS:
        note(KINDS[kind])
        with memory_limit(_FRAMES_MB) as group:
            command = [sys.executable, "-m", "benchmarks.memory.edge", kind, str(film)]
            found[kind] = json.loads(group.run(command, {"OMP_NUM_THREADS": "1"}).splitlines()[-1])
    return found


def frame_rows(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> Iterator[list[str]]:
    """A row for each kind; the last one has bars."""
    kinds = tuple(rounds[0])
    times = Times(kinds, np.array([[one[kind]["frame_s"] for one in rounds] for kind in kinds]))
    for kind in kinds:
        last = rounds[-1][kind]
        ratio = times.speedup(kind, TORCH)
        less = 100 * (1 - last["resident"] / rounds[-1][TORCH]["resident"])
        is_ours = kind == INT8
        faster = f"{ratio}; {_FASTER.beside(ratio.median, '.2f')}" if is_ours else str(ratio)
        below = _LESS.beside(less, ".0f") if is_ours else f"{less:.0f}"
        megabytes = [f"{last[of] / 1e6:.0f}" for of in ("resident", "peak")]
        yield [KINDS[kind], f"{1e3 / times.median_ms(kind):.1f}", faster, *megabytes, below]


def _open_model(kind: str) -> Model:
    """The English bundle's model on one thread."""
    from encoder.models.bundle.declaration import read_bundle
    from encoder.models.bundle.model import load

    if kind == TORCH:
        import torch

        from benchmarks.harness.torch_towers import lazy_torch_model

        torch.set_num_threads(1)
        return lazy_torch_model("english", n_threads=1)
    return load(read_bundle("english"), n_threads=1, quantization="int8" if kind == INT8 else None)


def _encode_frames(kind: str, film: Path) -> dict[str, float]:
    """CPU-seconds per frame, and this process's memory in bytes."""
    from encoder.media.video import stream_frames

    tower = _open_model(kind).towers[IMAGE]
    marks = []
    with on_one_core():
        for number, (_, frame) in enumerate(stream_frames(film, every_s=0), 1):
            tower.forward([tower.prepare(frame)])
            marks.append(time.process_time())
            if number == _N_FRAMES:
                break
    frame_s = (marks[-1] - marks[_N_FIRST - 1]) / (len(marks) - _N_FIRST)
    return {"frame_s": frame_s, "resident": resident_bytes(), "peak": peak_resident_bytes()}


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(_encode_frames(sys.argv[1], Path(sys.argv[2]))))
    else:
        main()
