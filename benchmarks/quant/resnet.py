"""ResNet-50's architecture, random weights: sizes, and speed and memory under a limit of 4 GiB.

Random weights say nothing about quality; size, speed and memory are as with trained ones.
``python -m benchmarks.quant.resnet speed FOLDER``, or ``KIND FOLDER`` for the memory of one
runtime, is a process under the limit.
"""

from __future__ import annotations

import json
import resource
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness.reporting import Bar, Settings, in_own_process, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import on_one_core, peak_resident_bytes, resident_bytes, take_turns

if TYPE_CHECKING:
    from torch import nn

    from encoder.runtime.base import Array, Session

KINDS = {"torch": "torch fp32", "onnx": "ONNX Runtime fp32", "int8": "ours, int8"}
_LIMIT_BYTES = 4 * 2**30
_SIDE = 224
_SELF = "benchmarks.quant.resnet"
_BATCHES = {1: 12, 8: 4}
_FASTER, _LESS = Bar(at_least=1.9), Bar(at_least=45.0)
_FLOAT, _INT8 = "model.onnx", "model.int8.onnx"


def main(settings: Settings) -> None:
    """Sizes first, then a process for the speed and one for each runtime's memory."""
    folder = settings.cache / "resnet"
    _prepare(folder)
    sizes, warning = _sizes()
    size_table = table(["ResNet-50", "MB", "× smaller", "average bits"], sizes)
    speeds = in_own_process(_SELF, "speed", str(folder), str(settings.items(1, 0)))
    memory = {kind: in_own_process(_SELF, kind, str(folder)) for kind in KINDS}
    intro = (
        "Random weights (seeded): the table is of sizes, every byte counted; the mixed model's "
        f"schemes are measured on noise. Asked for 8× with an FP16 head: “{warning}”"
    )
    limits = (
        "Under a limit of 4 GiB (RLIMIT_DATA: what a process may allocate), one core; speed in "
        "rounds, memory of a fresh process each after batches of 1 and 8. The bars are what the "
        "article has for its device: 8 to 15 pictures/s and 3.8 to 2.1 GB."
    )
    rows = list(_rows(speeds, memory))
    headings = [
        "runtime", *(f"pictures/s, batch {n}" for n in _BATCHES),
        *(f"× torch, batch {n}" for n in _BATCHES),
        "resident, MB", "peak, MB", "% below torch",
    ]  # fmt: skip
    title = "ResNet-50 on a small machine"
    report(settings, title, intro, size_table, limits, table(headings, rows))


def _rows(speeds: dict[str, Any], memory: dict[str, Any]) -> Iterator[list[str]]:
    for kind, label in KINDS.items():
        rates = [f"{speeds['rates'][str(n)][kind]:.1f}" for n in _BATCHES]
        ratios = [speeds["ratios"][str(n)][kind] for n in _BATCHES]
        less = 100 * (1 - memory[kind]["resident"] / memory["torch"]["resident"])
        megabytes = [f"{memory[kind][of] / 1e6:.0f}" for of in ("resident", "peak")]
        is_ours = kind == "int8"
        faster = [_FASTER.beside(r, ".2f") if is_ours else f"{r:.2f}" for r in ratios]
        yield [
            label, *rates, *faster, *megabytes,
            _LESS.beside(less, ".0f") if is_ours else f"{less:.0f}",
        ]  # fmt: skip


def network() -> nn.Module:
    """ResNet-50; batch norms have seen some noise, so that they hold more than ones and zeros."""
    import torch

    torch.manual_seed(0)
    model = _untrained().train()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn(4, 3, _SIDE, _SIDE))
    return model.eval()


def _untrained() -> nn.Module:
    from torchvision.models import resnet50  # type: ignore[import-untyped]

    model: nn.Module = resnet50(weights=None)
    return model


def examples(n: int, batch: int = 1, seed: int = 0) -> Iterator[dict[str, Array]]:
    """Seeded noise, ``x`` float32 [batch, 3, 224, 224]."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield {"x": rng.normal(size=(batch, 3, _SIDE, _SIDE)).astype(np.float32)}


def _sizes() -> tuple[list[list[str]], str]:
    """Rows of the size table, and the Quantizer's message on a budget that an FP16 head forbids."""
    import torch

    from encoder.quant.quantized import model_nbytes
    from encoder.quant.quantizer import Quantizer

    model = network()
    data = [torch.from_numpy(batch["x"]) for batch in examples(4)]
    plain = Quantizer(model)
    chooser = Quantizer(model, data, objective="kl")
    note("sizes")
    found = {
        "INT8": plain.apply("int8"),
        "INT4": plain.apply("int4"),
        "INT4 in groups of 64 where they fit": plain.apply("int4g64"),
        "INT4, FP16 head": plain.apply({"*": "int4", "fc": "fp16"}),
    }
    chooser.analyze_sensitivity(schemes=["int4", "int8"])
    found["mixed {4, 8, 16}, budget 7x"] = chooser.apply(budget="7x")
    keep = {"fc": "fp16"}
    found["mixed {4, 8, 16}, FP16 head, budget 6x"] = chooser.apply(budget="6x", keep=keep)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found["mixed {4, 8, 16}, FP16 head, budget 8x"] = chooser.apply(budget="8x", keep=keep)
    rows = [["float32", f"{model_nbytes(model) / 1e6:.2f}", "1.00", "32.00"]]
    rows += [
        [name, f"{q.nbytes / 1e6:.2f}", f"{q.compression:.2f}", f"{q.average_bits:.2f}"]
        for name, q in found.items()
    ]
    return rows, " ".join(str(warning.message) for warning in caught)


def _prepare(folder: Path) -> None:
    """Write the float32 file, unless it is there, and the int8 file that the processes run."""
    from encoder.onnx.static import activation_ranges, quantize_static

    if not (folder / _FLOAT).exists():
        note("export")
        folder.mkdir(parents=True, exist_ok=True)
        _export(folder)
    note("int8")
    ranges = activation_ranges(folder / _FLOAT, list(examples(8)))
    quantize_static(folder / _FLOAT, folder / _INT8, ranges)


def _export(folder: Path) -> None:
    import torch

    from encoder.quant.tracing import trace

    model = network()
    torch.save(model.state_dict(), folder / "weights.pt")
    example = {name: torch.from_numpy(x) for name, x in next(iter(examples(1, 2))).items()}
    program = trace(model, example, {"x": (0,)})
    program.optimize()
    program.save(folder / _FLOAT)


def _session(kind: str, folder: Path) -> Session:
    """One runtime, one thread."""
    from encoder.runtime.onnx import OnnxSession

    if kind != "torch":
        return OnnxSession(folder / {"onnx": _FLOAT, "int8": _INT8}[kind], n_threads=1)
    import torch

    from encoder.runtime.torch import TorchSession

    torch.set_num_threads(1)
    model = _untrained()
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return TorchSession(model)


def _speed(folder: Path, is_full: bool) -> dict[str, Any]:
    """Pictures per second, and ratios to torch, by batch and kind."""
    sessions = {kind: _session(kind, folder) for kind in KINDS}
    rates, ratios = {}, {}
    with on_one_core():
        for batch, n_rounds in _BATCHES.items():
            (inputs,) = examples(1, batch, seed=9)
            runs = {kind: partial(session.run, inputs) for kind, session in sessions.items()}
            times = take_turns(runs, n_rounds=n_rounds if is_full else 2, n_warm_up=1)
            rates[batch] = {kind: 1e3 * batch / times.median_ms(kind) for kind in KINDS}
            ratios[batch] = {kind: times.speedup(kind, "torch").median for kind in KINDS}
    return {"rates": rates, "ratios": ratios}


def _memory(kind: str, folder: Path) -> dict[str, int]:
    """This process's memory after some batches, and its peak, in bytes."""
    session = _session(kind, folder)
    for batch in (1, 8, 8, 1):
        (inputs,) = examples(1, batch)
        session.run(inputs)
    return {"resident": resident_bytes(), "peak": peak_resident_bytes()}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (_LIMIT_BYTES, _LIMIT_BYTES))
    _what, _folder = sys.argv[1], Path(sys.argv[2])
    _found = _speed(_folder, sys.argv[3] == "1") if _what == "speed" else _memory(_what, _folder)
    print(json.dumps(_found))
