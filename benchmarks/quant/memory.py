"""Resident memory of a fresh process that encodes: torch in float32, ONNX Runtime, our int8.

``python -m benchmarks.quant.memory KIND WHAT`` is such a process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from benchmarks.harness.reporting import Bar, Settings, in_own_process, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import peak_resident_bytes, resident_bytes
from benchmarks.towers.throughput import images, sounds, texts
from encoder.towers.model import Model
from encoder.types import AUDIO, IMAGE, TEXT, Modality

TORCH, ONNX, INT8 = "torch", "onnx", "int8"
KINDS = {
    TORCH: "torch fp32",
    ONNX: "ONNX Runtime fp32",
    INT8: 'ours, quantization="int8"',
}
WHAT = {"text": (TEXT,), "image": (IMAGE,), "all": (TEXT, IMAGE, AUDIO)}
_CONTENT = {TEXT: texts, IMAGE: images, AUDIO: sounds}
_ROUNDS = 2
_LESS = Bar(at_least=30.0)


def main(settings: Settings) -> None:
    """Start a process for each kind and content."""
    rows = []
    for what in WHAT:
        found = {kind: in_own_process("benchmarks.quant.memory", kind, what) for kind in KINDS}
        baseline = found[TORCH]["resident"]
        for kind, label in KINDS.items():
            less = percent_below(found[kind]["resident"], baseline)
            said = {TORCH: "", INT8: _LESS.beside(less, ".0f")}.get(kind, f"{less:.0f}")
            megabytes = [f"{found[kind][of] / 1e6:.0f}" for of in ("resident", "peak")]
            rows.append([what, label, *megabytes, said])
    intro = (
        "Each a fresh process, one thread, after two batches of 32 texts, of 32 pictures, or of "
        "both and 8 sounds of 5 s. Libraries count. Speech is recognised by CTranslate2 in int8 "
        "in all of them, so `all` flatters torch."
    )
    headings = ["content", "runtime", "resident, MB", "peak, MB", "% below torch fp32"]
    report(settings, "Memory of an encoding process", intro, table(headings, rows))


def percent_below(nbytes: float, baseline: float) -> float:
    """How much smaller than the baseline.

    >>> round(percent_below(55.0, 100.0))
    45
    """
    return 100 * (1 - nbytes / baseline)


def encode(kind: str, modalities: Sequence[Modality]) -> dict[str, int]:
    """Encode in this process; the memory that it then holds, and its peak, in bytes."""
    model = open_model(kind)
    for _ in range(_ROUNDS):
        for modality in modalities:
            tower = model.towers[modality]
            tower.forward([tower.prepare(item.content) for item in _CONTENT[modality]()])
    return {"resident": resident_bytes(), "peak": peak_resident_bytes()}


def open_model(kind: str) -> Model:
    """The bundle's model on one thread."""
    from encoder.models.bundle.declaration import read_bundle
    from encoder.models.bundle.model import load

    bundle = read_bundle("english")
    if kind == TORCH:
        import torch

        from benchmarks.pipeline.plain_script import lazy_torch_model

        torch.set_num_threads(1)
        return lazy_torch_model(n_threads=1)
    return load(bundle, n_threads=1, quantization="int8" if kind == INT8 else None)


if __name__ == "__main__":
    print(json.dumps(encode(sys.argv[1], WHAT[sys.argv[2]])))
