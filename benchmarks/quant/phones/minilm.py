"""MiniLM on ExecuTorch's XNNPACK and on ONNX Runtime: size, cosine and CPU time of a text.

Importing this imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from benchmarks.harness.reporting import Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.peers import SPEED, load
from benchmarks.quant.networks.subjects import Subject, minilm
from encoder.quant.export.executorch import export_executorch, open_method
from encoder.quant.quantizer import Quantizer

Answer = Callable[[Mapping[str, Tensor]], Tensor]
_LENGTHS = (64, 256)
_INTRO = (
    "Rounded to nearest; cosine to float32 on texts of Debian packages, each alone; CPU ms of one "
    "text, the least of {} runs in turns, one thread. MB are of the file, for ONNX Runtime of its "
    "weights, scales left out. The file for ExecuTorch takes 2 to 512 tokens."
)


def main(settings: Settings) -> None:
    """Compare all ways to store it."""
    torch.set_num_threads(1)
    n_runs = settings.items(10, 1)
    subject = minilm(settings, settings.items(20, 2))
    with TemporaryDirectory() as scratch:
        ways = _ways(subject, Path(scratch))
        rows = [
            [name, f"{nbytes / 1e6:.1f}", f"{_cosine(subject, run):.4f}"]
            for name, (nbytes, run) in ways.items()
        ]
        runs = {name: run for name, (_, run) in ways.items()}
        spent = {length: _spent(runs, length, n_runs) for length in _LENGTHS}
    for row in rows:
        row += [f"{1e3 * spent[length][row[0]]:.1f}" for length in _LENGTHS]
    headings = ["way", "MB", "cosine", *(f"ms, {length} tokens" for length in _LENGTHS)]
    report(settings, "MiniLM on ExecuTorch", _INTRO.format(n_runs), table(headings, rows))


def _ways(subject: Subject, folder: Path) -> dict[str, tuple[int, Answer]]:
    example = {"input_ids": torch.randint(999, 9999, (1, 64)), "mask": torch.ones(1, 64)}
    twice = {name: value.repeat(2, 1) for name, value in example.items()}
    onnx: Answer = load(SPEED["ONNX Runtime fp32"])(subject.model, [twice])
    plain: Answer = load(SPEED["ONNX Runtime int8 dynamic, plain"])(subject.model, [twice])
    n_floats = sum(parameter.nbytes for parameter in subject.model.parameters())
    ways = {
        "ONNX Runtime, float32": (n_floats, onnx),
        "ONNX Runtime, its own int8": (n_floats // 4, plain),
    }
    for scheme in ("fp32", "int8", "int4g64"):
        note(scheme)
        path = folder / f"{scheme}.pte"
        made = export_executorch(_stored(subject, scheme), example, path, least_cosine=0)
        ways[f"ExecuTorch, {scheme}"] = made.nbytes, _on_executorch(path)
    return ways


def _stored(subject: Subject, scheme: str) -> nn.Module:
    quantizer = Quantizer(subject.model, objective="cosine", rounding="rtn", progress=False)
    return subject.model if scheme == "fp32" else quantizer.apply(scheme).module


def _on_executorch(path: Path) -> Answer:
    method = open_method(path)
    return lambda inputs: method.execute([inputs["input_ids"], inputs["mask"]])[0]


def _cosine(subject: Subject, run: Answer) -> float:
    """The mean over texts, without padding."""
    cosines = []
    for batch in subject.data.score[:4]:
        for ids, mask in zip(batch["input_ids"], batch["mask"], strict=True):
            n_tokens = int(mask.sum())
            one = {"input_ids": ids[None, :n_tokens].clone(), "mask": mask[None, :n_tokens].clone()}
            with torch.inference_mode():
                wanted = subject.model(**one)
            cosines.append(float(nn.functional.cosine_similarity(wanted, run(one)).mean()))
    return sum(cosines) / len(cosines)


def _spent(runs: Mapping[str, Answer], length: int, n_runs: int) -> dict[str, float]:
    """The least process time of one text, in seconds."""
    text = {"input_ids": torch.randint(999, 9999, (1, length)), "mask": torch.ones(1, length)}
    least = dict.fromkeys(runs, float("inf"))
    for _ in range(n_runs):
        for name, run in runs.items():
            start = time.process_time()
            run(text)
            least[name] = min(least[name], time.process_time() - start)
    return least
