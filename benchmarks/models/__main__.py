"""Hub models at their published sizes: ``python -m benchmarks.models ["EmbeddingGemma 2" …]``.

Weights are random, so cosines say how near int8 is to float32, not how good a vector is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, TypeAlias

import numpy as np

from benchmarks.models.apart import apart, memory, prepare, vector_of
from benchmarks.models.subjects import SUBJECTS, contents, save
from benchmarks.results import table, write_section
from benchmarks.timing import Times, take_turns
from encoder.models.exported import open_exported
from encoder.towers.base import Tower

Run: TypeAlias = Callable[[], Any]

PRECISIONS = ("float32", "int8")
BARS = {
    ("bge-small", "text"): 3.5,
    ("ModernBERT-base", "text"): 3.5,
    ("CLIP B/32", "image"): 2.5,
    ("EmbeddingGemma 2", "text"): 4.0,
    ("EmbeddingGemma 2", "image"): 3.0,
    ("EmbeddingGemma 2", "audio"): 3.0,
}
"""The least gain of int8 over torch's float32, in CPU-seconds."""

_TORCH = "torch float32"
_ROUNDS = 5
_WINDOW_S = 30.0
_HEAD = ("what", "runs on", "CPU-ms, 1 thread", "gain", "ms, 2 threads", "cosine", "bar")

_ABOUT = """\
One item at a time, from a text, an array of pixels or samples to its vector; random weights.
`torch float32` is sentence-transformers. Medians of rounds in which all take turns; a gain is the
median of the ratios within rounds, with the middle 80 % of them."""


def main(names: list[str]) -> None:
    """Measure the models of these names, or all; print and write a section for each."""
    for name in names or SUBJECTS:
        with TemporaryDirectory(prefix="anymodal-models-") as folder:
            body = measure(name, Path(folder))
        print(body, flush=True)
        write_section(f"As graphs: {name}", f"make bench-models MODELS='\"{name}\"'", body)


def measure(name: str, folder: Path) -> str:
    """All that is measured of one model, as Markdown."""
    source = save(name, folder / "source")
    lines = [_ABOUT, ""]
    for precision in PRECISIONS:
        seconds, peak_mb = apart(prepare, source, folder / precision, precision)
        n_bytes = sum(path.stat().st_size for path in (folder / precision).glob("*.onnx*"))
        lines.append(
            f"- Preparing it in {precision}: {seconds:.0f} CPU-s, {peak_mb:.0f} MB of memory at "
            f"most, {n_bytes / 2**20:.0f} MB of graphs."
        )
    lines += [f"- {memory(folder / 'int8')}", f"- {_neighbours(folder / 'int8')}", ""]
    return "\n".join([*lines, table(_HEAD, list(_rows(name, source, folder)))])


def _rows(name: str, source: Path, folder: Path) -> Iterator[Sequence[object]]:
    import torch

    eager = _eager(source)
    for kind, content in contents().items():
        if kind not in eager:
            continue
        runs: dict[int, dict[str, Run]] = {}
        for n in (1, 2):
            towers = {_TORCH: eager[kind]} | {
                precision: open_exported(folder / precision, n, shared=False).towers[kind]  # type: ignore[index]
                for precision in PRECISIONS
            }
            runs[n] = {who: partial(vector_of, tower, content) for who, tower in towers.items()}
        torch.set_num_threads(1)
        cpu = take_turns(runs[1], n_rounds=_ROUNDS, n_warm_up=1, clock=process_time)
        vectors = {who: run() for who, run in runs[1].items()}
        torch.set_num_threads(2)
        wall = take_turns(runs[2], n_rounds=_ROUNDS, n_warm_up=1, clock=perf_counter)
        for who, vector in vectors.items():
            yield _row(name, kind, who, cpu, wall, float(vector @ vectors[_TORCH]))


def _row(name: str, kind: str, who: str, cpu: Times, wall: Times, cosine: float) -> list[object]:
    gain = cpu.speedup(who, _TORCH)
    bar = BARS.get((name, kind)) if who == "int8" else None
    met = "met" if bar and gain.median >= bar else "missed"
    return [
        kind,
        who,
        f"{cpu.median_ms(who):.1f}",
        gain if who != _TORCH else "",
        f"{wall.median_ms(who):.1f}",
        f"{cosine:.5f}",
        f"{bar}, {met}" if bar else "",
    ]


def _eager(source: Path) -> Mapping[str, Tower]:
    """The towers as sentence-transformers runs them."""
    from encoder.models import hub
    from encoder.towers.hub import tower as towers
    from encoder.towers.hub.text import TextTower

    _, joint, _ = hub.open_joint(str(source), None, "cpu")
    makers: Mapping[str, Callable[[], Tower]] = {
        "text": partial(TextTower, joint, ""),
        "image": partial(towers.ImageTower, joint, ""),
        "audio": partial(towers.SoundTower, joint, "", _WINDOW_S),
    }
    return {kind: make() for kind, make in makers.items() if kind in joint.model.modalities}


def _neighbours(folder: Path) -> str:
    """How near a text's vector in a batch is to the one that it has alone."""
    tower = open_exported(folder, 1, shared=False).towers["text"]  # type: ignore[index]
    long = str(contents()["text"])
    texts = [tower.prepare(text) for text in ("a red car", "a new cat", long, long[:90])]
    together = tower.forward(texts)
    alone = np.stack([tower.forward([text])[0] for text in texts])
    least = float((together * alone).sum(axis=1).min())
    return f"Cosine of a text's vector alone to that in a batch, at least: {least:.7f} (> .9999)."


if __name__ == "__main__":
    main(sys.argv[1:])
