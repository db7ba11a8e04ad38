"""Speed on one core: our int8 networks and what others run, in rounds, against torch in float32."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.bundle_quality.questions import read
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Times, on_one_core, take_turns
from benchmarks.quant.peers import PEERS, Inputs, Run, write_onnx
from encoder.models.bundle.declaration import location, read_bundle
from encoder.models.bundle.model import network, parse_precision
from encoder.onnx.static import activation_ranges, quantize_static
from encoder.prepare.bundle.networks import load_network
from encoder.runtime.base import Session
from encoder.runtime.onnx import OnnxSession
from encoder.towers.text import load_tokenizer, pad

BASELINE, OURS = "torch fp32 eager", "**ours, int8**"
_SIDE = 224
_INTRO = """\
One core, one thread; every round runs all candidates in an order of its own. The speedup is the
median over rounds of the ratio to torch fp32 eager within a round, with its 10 and 90 percentiles.
The cosine is of the timed inputs' outputs to float32: a fast answer must be right."""


@dataclass(frozen=True, eq=False)
class Case:
    """One shape of inputs.

    Args:
        name: the shape in words.
        inputs: what is timed; real, and not among the calibration data.
        n_rounds: how often each candidate runs.
        bar: the least speedup of ours over the baseline.
    """

    name: str
    inputs: Inputs
    n_rounds: int
    bar: Bar


def text(settings: Settings) -> None:
    """MiniLM at 1 text of 32 tokens and 8 of 128, cut from XQuAD, of which others calibrate."""
    bundle = read_bundle("english")
    files = network(bundle, location(bundle), "text")
    paragraphs = read("en").paragraphs
    calibration = [_batch(paragraphs[at : at + 16], 128) for at in range(80, 240, 16)]
    cases = [
        Case("1 × 32 tokens", _batch(paragraphs[:1], 32), settings.items(40, 2), Bar(3.5)),
        Case("8 × 128 tokens", _batch(paragraphs[:8], 128), settings.items(12, 2), Bar(2.5)),
    ]
    model = load_network("bundle:english", "text").module
    ours = partial(_run_of, parse_precision(bundle, "int8").open(files, 1))
    _report(settings, "Speed of MiniLM on one core", "", _measured(model, calibration, ours, cases))


def resnet(settings: Settings) -> None:
    """ResNet-50's architecture with random weights, 1 and 8 pictures of noise."""
    from torchvision.models import resnet50  # type: ignore[import-untyped]

    torch.manual_seed(0)
    model = resnet50(weights=None).train()
    with torch.no_grad():
        for _ in range(2):  # so that batch norms hold more than ones and zeros
            model(torch.randn(4, 3, _SIDE, _SIDE))
    model.eval()
    calibration = [{"x": torch.randn(2, 3, _SIDE, _SIDE)} for _ in range(4)]
    cases = [
        Case(f"{n} at a time", {"x": torch.randn(n, 3, _SIDE, _SIDE)}, rounds, Bar(1.9))
        for n, rounds in ((1, settings.items(12, 2)), (8, settings.items(4, 2)))
    ]
    with tempfile.TemporaryDirectory() as name:
        path = write_onnx(model, calibration[0], Path(name) / "model.onnx")
        batches = [{key: x.numpy() for key, x in batch.items()} for batch in calibration]
        quantize_static(path, Path(name) / "int8.onnx", activation_ranges(path, batches))
        ours = partial(_run_of, OnnxSession(Path(name) / "int8.onnx", n_threads=1))
        tables = _measured(model, calibration, ours, cases)
    weights = "Random weights: only speed means something. "
    _report(settings, "Speed of ResNet-50 on one core", weights, tables)


def _report(settings: Settings, title: str, note_of_it: str, tables: Sequence[str]) -> None:
    report(settings, title, note_of_it + _INTRO, *tables)


def _run_of(session: Session, inputs: Inputs) -> torch.Tensor:
    return torch.from_numpy(session.run({name: x.numpy() for name, x in inputs.items()})[0])


def _batch(texts: Sequence[str], length: int) -> Inputs:
    """Texts of at most ``length`` tokens: longer ones are cut."""
    folder = location(read_bundle("english")) / "text"
    tokenizer = load_tokenizer(folder / "tokenizer.json", max_tokens=length)
    ids, mask = pad([np.asarray(tokenizer.encode(text).ids) for text in texts])
    return {"input_ids": torch.from_numpy(ids), "mask": torch.from_numpy(mask)}


def _measured(
    model: nn.Module, calibration: Sequence[Inputs], ours: Run, cases: Sequence[Case]
) -> list[str]:
    """A table for each case, and messages about what cannot be built."""
    torch.set_num_threads(1)
    runs, failures = dict[str, Run](), list[str]()
    builders: Mapping[str, Callable[[nn.Module, Sequence[Inputs]], Run]] = PEERS
    for name, build in builders.items():
        note(f"build {name}")
        try:
            runs[name] = build(model, calibration)
        except Exception as error:  # noqa: BLE001  other people's libraries: say so and go on
            failures.append(f"{name} could not be built: {type(error).__name__}.")
            note(f"{name}: {error!r}")
    runs[OURS] = ours
    with on_one_core():
        return [*(_case(case, runs) for case in cases), *failures]


def _case(case: Case, runs: Mapping[str, Run]) -> str:
    note(case.name)
    original = runs[BASELINE](case.inputs)
    cosines = {
        name: float(torch.cosine_similarity(run(case.inputs), original).mean())
        for name, run in runs.items()
    }
    times = take_turns(
        {name: partial(run, case.inputs) for name, run in runs.items()},
        n_rounds=case.n_rounds,
        n_warm_up=1,
    )
    rows = list(_rows(case, times, cosines))
    return f"**{case.name}**\n\n" + table(["", "ms", "× torch fp32 eager", "cosine"], rows)


def _rows(case: Case, times: Times, cosines: Mapping[str, float]) -> Iterator[list[str]]:
    for name in sorted(times.names, key=times.median_ms, reverse=True):
        speedup = times.speedup(name, BASELINE)
        verdict = f"; {case.bar.beside(speedup.median, '.2f')}" if name == OURS else ""
        yield [name, f"{times.median_ms(name):.2f}", f"{speedup}{verdict}", f"{cosines[name]:.4f}"]
