"""Hub models on a GPU, if there is one: ``python -m benchmarks.models.gpu ["CLIP B/32" …]``.

Items per second from texts and pixels to vectors, random weights of the published sizes: in
float32 and in bf16, one batch after the other and with the next ones prepared meanwhile. Cosines
are to float32 on the same card.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.harness.results_pages import table, write_section
from benchmarks.models.subjects import contents, save
from encoder.models import hub
from encoder.towers.base import Tower
from encoder.towers.model import Model

_MODELS = ("bge-small", "ModernBERT-base", "CLIP B/32", "EmbeddingGemma 2")
_N_ITEMS = {"text": 1024, "image": 256}
_ROUNDS = 3
_HEAD = ("model", "what", "runs in", "batches", "items/s", "GB of the card", "least cosine")


def main(names: list[str]) -> int:
    """Measure the models of these names, or some of each kind; the exit status."""
    import torch

    if not torch.cuda.is_available():
        print("torch sees no GPU here; nothing was measured.", file=sys.stderr)
        return 1
    rows: list[Sequence[object]] = []
    for name in names or _MODELS:
        with TemporaryDirectory(prefix="anymodal-gpu-") as folder:
            rows += _measure(name, save(name, Path(folder) / "source"))
    body = f"{torch.cuda.get_device_name()}, torch {torch.__version__}.\n\n{table(_HEAD, rows)}"
    print(body)
    write_section("Hub models on a GPU", "make bench-gpu", body)
    return 0


def _measure(name: str, source: Path) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = []
    exact: dict[str, Any] = {}
    for bf16 in (False, True):
        model = hub.load(str(source), revision=None, device="cuda:0", bf16=bf16)
        for kind, n_items in _N_ITEMS.items():
            if kind not in model.modalities:
                continue
            for ahead in (False, True):
                row, vectors = _run(model, kind, n_items, ahead)
                wanted = exact.setdefault(kind, vectors)
                least = float((wanted * vectors).sum(axis=1).min())
                rows.append([name, kind, "bf16" if bf16 else "float32", *row, f"{least:.5f}"])
    return rows


def _run(model: Model, kind: str, n_items: int, ahead: bool) -> tuple[list[object], Any]:
    import torch

    tower: Any = model.towers[kind]  # type: ignore[index]
    tower._encoder.ahead = ahead
    items = _items(tower, kind, n_items)
    tower.forward(items[:64])
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(_ROUNDS):
        start = perf_counter()
        vectors = tower.forward(items).rows
        seconds.append(perf_counter() - start)
    peak_gb = torch.cuda.max_memory_allocated() / 1e9
    batches = "made ahead" if ahead else "in turn"
    return [batches, f"{n_items / min(seconds):.0f}", f"{peak_gb:.1f}"], vectors


def _items(tower: Tower, kind: str, n_items: int) -> list[Any]:
    """Texts of 32 to 256 tokens, or 1080p pictures."""
    rng = np.random.default_rng(0)
    if kind == "text":
        text = str(contents()["text"])
        return [tower.prepare(text[: int(n)]) for n in rng.integers(32, 256, n_items)]
    noise = rng.integers(0, 256, (1080, 1920, 3), np.uint8)
    return [tower.prepare(np.roll(noise, i, axis=1)) for i in range(n_items)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
