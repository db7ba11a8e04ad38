"""Hub models at their published sizes: ``python -m benchmarks.models ["EmbeddingGemma 2" …]``.

Weights are random, so cosines say how near int8 is to float32, not how good a vector is. ``PEERS``
in the environment names a Python whose packages also run the texts, see `benchmarks.models.peers`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from benchmarks.harness.results_pages import table, write_section
from benchmarks.harness.timing import Times, take_turns
from benchmarks.models.apart import apart, prepare, vector_of
from benchmarks.models.peers import cpu_s, peers
from benchmarks.models.subjects import SUBJECTS, contents, save
from encoder.models.exported import open_exported
from encoder.runtime.trial import instruction_sets
from encoder.towers.base import Tower
from encoder.towers.hub import JointTextTower
from encoder.types import AUDIO, DOCUMENT, IMAGE, TEXT

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
_ROUNDS = (5, 15)
"""The least and the most rounds; as many as fit into `_TURNS_S`."""
_TURNS_S = 40.0
_WINDOW_S = 30.0
_HEAD = ("what", "runs on", "CPU-ms, 1 thread", "gain", "ms, 2 threads", "cosine", "bar")

_ABOUT = """\
One item at a time, from a text, an array of pixels or samples to its vector; random weights.
`torch float32` is our own path through sentence-transformers. Medians of rounds in which all take
turns; a gain is the median of the ratios within rounds, with the middle 80 % of them."""


def main(names: list[str]) -> None:
    """Measure the models of these names, or all; print and write a section for each."""
    for name in names or SUBJECTS:
        with TemporaryDirectory(prefix="anymodal-models-") as folder:
            body = measure(name, Path(folder))
        print(body, flush=True)
        write_section(f"As graphs: {name}", f"make bench-models MODELS='\"{name}\"'", body)


def measure(name: str, folder: Path) -> str:
    """All measurements of one model, as Markdown."""
    before = _load()
    source = save(name, folder / "source")
    lines = []
    for precision in PRECISIONS:
        seconds, peak_mb = apart(prepare, source, folder / precision, precision)
        n_bytes = sum(path.stat().st_size for path in (folder / precision).glob("*.onnx*"))
        lines.append(
            f"- Preparing it in {precision}: {seconds:.0f} CPU-s, {peak_mb:.0f} MB of memory at "
            f"most, {n_bytes / 2**20:.0f} MB of graphs."
        )
    rows = list(_rows(name, source, folder, lines))
    amx = "with" if "amx_int8" in instruction_sets().split() else "without"
    busy = f"The processor is one {amx} AMX; load of the machine {before}, at the end {_load()}."
    return "\n".join([_ABOUT, busy, "", *lines, "", table(_HEAD, rows)])


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def _rows(name: str, source: Path, folder: Path, lines: list[str]) -> Iterator[Sequence[object]]:
    """A row for each way of each modality; what cannot be measured becomes one of ``lines``."""
    eager = _eager(source)
    for kind, content in contents().items():
        if kind not in eager:
            continue
        (cpu, vectors), (wall, _) = (
            _timed(kind, content, eager[kind], source, folder, n, lines) for n in (1, 2)
        )
        for who, vector in vectors.items():
            cosine = float(vector @ vectors[_TORCH])
            yield _row(name, _what(kind, content, eager[kind]), who, cpu, wall, cosine)


def _timed(
    kind: str,
    content: Any,
    eager: Tower,
    source: Path,
    folder: Path,
    n_threads: int,
    lines: list[str],
) -> tuple[Times, dict[str, Any]]:
    """CPU-seconds on one thread, or seconds on more; and the vectors."""
    import torch

    torch.set_num_threads(n_threads)
    towers = {_TORCH: eager} | {
        precision: open_exported(folder / precision, n_threads, shared=False).towers[kind]  # type: ignore[index]
        for precision in PRECISIONS
    }
    runs = {who: partial(vector_of, tower, content) for who, tower in towers.items()}
    with peers(source, n_threads if kind == "text" else 0) as (others, missing):
        if n_threads == 1:
            lines += [f"- Not measured: {who} ({why})" for who, why in missing.items()]
        runs |= {
            f"peer: {who.rpartition(' ')[2]}": partial(peer, content)
            for who, peer in others.items()
        }
        clock = partial(cpu_s, others.values()) if n_threads == 1 else perf_counter
        vectors = {who: run() for who, run in runs.items()}
        start = perf_counter()
        for run in runs.values():
            run()
        n_rounds = int(np.clip(_TURNS_S / (perf_counter() - start), *_ROUNDS))
        return take_turns(runs, n_rounds=n_rounds, n_warm_up=0, clock=clock), vectors


def _what(kind: str, content: Any, tower: Tower) -> str:
    lengths = tower.window_lengths(content) if isinstance(tower, JointTextTower) else []
    windows = f", {len(lengths)} windows" if len(lengths) > 1 else ""
    return f"{kind}, {sum(lengths)} tokens{windows}" if lengths else kind


def _row(name: str, what: str, who: str, cpu: Times, wall: Times, cosine: float) -> list[object]:
    gain = cpu.speedup(who, _TORCH)
    bar = BARS.get((name, what.partition(",")[0])) if who == "int8" else None
    met = "met" if bar and gain.median >= bar else f"missed by {(bar or 0) - gain.median:.2f}"
    return [
        what,
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
    from encoder.towers import hub as towers

    _, joint, prompts = hub.open_joint(str(source), None, "cpu")
    prompt = partial(prompts.of, role=DOCUMENT)  # as graphs have them
    makers: Mapping[str, Callable[[], Tower]] = {
        "text": partial(JointTextTower, joint, prompt(TEXT)),
        "image": partial(towers.image_tower, joint, prompt(IMAGE)),
        "audio": partial(towers.sound_tower, joint, prompt(AUDIO), _WINDOW_S),
    }
    return {kind: make() for kind, make in makers.items() if kind in joint.model.modalities}


if __name__ == "__main__":
    main(sys.argv[1:])
