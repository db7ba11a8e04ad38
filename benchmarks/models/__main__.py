"""Hub models at their published sizes: ``python -m benchmarks.models ["EmbeddingGemma 2" …]``.

Weights are random, so cosines are those of a network that was never trained: an upper bound of
nothing, but the same for all candidates. Times are the least of a few runs.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.models.subjects import SUBJECTS, contents, save
from benchmarks.results import table
from encoder.models.base import Model
from encoder.models.exported import open_exported

_RUNS = 3
_HEAD = ("model", "what", "runs on", "MB", "CPU-s, 1 thread", "s, 2 threads", "cosine")


def main(names: list[str]) -> None:
    """Measure the models of these names, or all, and print a table for each."""
    for name in names or SUBJECTS:
        with TemporaryDirectory(prefix="anymodal-models-") as folder:
            print(table(_HEAD, list(_rows(name, Path(folder)))), flush=True)
            print(_memory(Path(folder) / "int8"), flush=True)


def _rows(name: str, folder: Path) -> Iterator[list[object]]:
    from encoder.models import hub
    from encoder.models.prepare.hub import prepare_hub

    source = save(name, folder / "source")
    expected: dict[str, Any] = {}
    for label, precision in (("torch", None), ("float32", None), ("int8", "int8")):
        if label == "torch":
            model = hub.load(str(source), revision=None, device="cpu")
            models = {1: model, 2: model}
            n_bytes = sum(path.stat().st_size for path in source.glob("*.safetensors"))
            sizes: Mapping[str, int] = {"text": n_bytes}
        else:
            (folder / label).mkdir()
            facts = prepare_hub(source, folder / label, precision, lambda *step: print(*step))
            models = {n: open_exported(folder / label, n, shared=False) for n in (1, 2)}
            sizes = {kind: facts["bytes"][facts[kind]["graph"]] for kind in facts["modalities"]}
        for kind, content in contents().items():
            if kind in models[1].towers:
                vector = _vector(models[1], kind, content)
                cosine = float(vector @ expected.setdefault(kind, vector))
                cpu_s, _ = _seconds(models[1], kind, content, 1)
                _, wall_s = _seconds(models[2], kind, content, 2)
                mb = sizes.get(kind, 0) / 2**20
                row = [f"{mb:.0f}", f"{cpu_s:.3f}", f"{wall_s:.3f}", f"{cosine:.5f}"]
                yield [name, kind, label, *row]


def _vector(model: Model, kind: str, content: object) -> np.ndarray[Any, Any]:
    tower = model.towers[kind]  # type: ignore[index]
    return tower.forward([tower.prepare(content)])[0]


def _seconds(model: Model, kind: str, content: object, n_threads: int) -> tuple[float, float]:
    """CPU-seconds and seconds of the clock, the least of some runs."""
    import torch

    torch.set_num_threads(n_threads)
    found = []
    for _ in range(_RUNS):
        start = time.process_time(), time.perf_counter()
        _vector(model, kind, content)
        found.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    return min(cpu_s for cpu_s, _ in found), min(wall_s for _, wall_s in found)


def _memory(folder: Path) -> str:
    """What a second process adds that has encoded a text with an artifact, beside the first."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(3):  # the first makes the copy that the others map
        here, there = context.Pipe()
        process = context.Process(target=_hold, args=(folder, there))
        process.start()
        pipes.append((here, process))
        before_mb, after_mb = here.recv()
    for here, process in pipes:
        here.send("end")
        process.join()
    n_bytes = sum(path.stat().st_size for path in folder.glob("text.onnx*"))
    return (
        f"A further process adds {after_mb - before_mb:.0f} MB of its own; "
        f"the weights have {n_bytes / 2**20:.0f} MB."
    )


def _hold(folder: Path, pipe: Any) -> None:
    before_mb = _own_mb()
    _vector(open_exported(folder, 1), "text", contents()["text"])
    pipe.send((before_mb, _own_mb()))
    pipe.recv()


def _own_mb() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text("utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
