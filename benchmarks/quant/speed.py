"""Speed on one core: our int8 networks and what others run, in rounds, against torch in float32.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import torch
from torch import nn

from benchmarks.corpora.debian_packages import pairs
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.harness.timing import Times, on_one_core, take_turns
from benchmarks.peers import SPEED, load
from benchmarks.peers.base import BuildRun, Inputs, Run
from benchmarks.quant.networks.subjects import calibration_texts, text_batches
from encoder.models.bundle.declaration import location, read_bundle
from encoder.models.bundle.model import network, parse_precision
from encoder.prepare.bundle.networks import load_network

BASELINE = "torch fp32 eager"
FLOATS = ("torch.compile fp32", "ONNX Runtime fp32", "OpenVINO fp32", BASELINE)
OURS = "**ours, int8**"
_OPENVINO = "OpenVINO int8 (NNCF)"
_CALIBRATION_BATCHES = 16
_HOPELESS = 3.0
_OVER_FASTEST_FLOAT = Bar(at_least=2.0)


@dataclass(frozen=True, eq=False)
class Case:
    """One shape of inputs.

    Args:
        name: the shape in words.
        inputs: what is timed; real, and not among the calibration data.
        n_rounds: how often each candidate runs.
        bars: the least speedup over the baseline, by candidate.
    """

    name: str
    inputs: Inputs
    n_rounds: int
    bars: Mapping[str, Bar]


def text(settings: Settings) -> None:
    """MiniLM at 1 text of 32 tokens and 8 of 128."""
    model = load_network("bundle:english", "text").module
    calibration = calibration_texts(settings)[:_CALIBRATION_BATCHES]
    cases = [
        _texts(settings, 1, 32, 40, {OURS: Bar(at_least=3.5), _OPENVINO: Bar(at_least=3.5)}),
        _texts(settings, 8, 128, 12, {OURS: Bar(at_least=2.5), _OPENVINO: Bar(at_least=3.5)}),
    ]
    torch.set_num_threads(1)
    runs, failures = _build(model, calibration)
    with on_one_core():
        tables = [_case(case, runs) for case in cases]
    intro = (
        "One core, one thread; every round runs all candidates in an order of its own. The "
        "speedup is the median over rounds of the ratio to torch fp32 eager within a round, "
        "with its 10 and 90 percentiles. The cosine is of the timed inputs' outputs to float32: a "
        "fast answer must be right."
    )
    report(settings, "Speed of MiniLM on one core", intro, *tables, *failures)


def _ours(_model: nn.Module, _calibration: Sequence[Inputs]) -> Run:
    """The network that ``MultiModalEncoder(quantization="int8")`` runs."""
    bundle = read_bundle("english")
    files = network(bundle, location(bundle), "text")
    session = parse_precision(bundle, "int8").open(files, 1)

    def run(inputs: Inputs) -> torch.Tensor:
        return torch.from_numpy(session.run({name: x.numpy() for name, x in inputs.items()})[0])

    return run


def _texts(settings: Settings, n: int, length: int, n_rounds: int, bars: Mapping[str, Bar]) -> Case:
    """Texts of exactly ``length`` tokens: longer ones are cut."""
    bodies = (pair.body for pair in pairs(settings.folder / "debian", "test"))
    long = [body for body, _ in zip(filter(_is_long, bodies), range(n), strict=False)]
    (inputs,) = text_batches(long, length, sort=False).inputs
    assert inputs["mask"].shape == (n, length)
    assert bool(inputs["mask"].all())
    return Case(f"{n} × {length} tokens", inputs, settings.items(n_rounds, 2), bars)


def _is_long(body: str) -> bool:
    return len(body.split()) > 130


def _build(model: nn.Module, calibration: Sequence[Inputs]) -> tuple[dict[str, Run], list[str]]:
    """What runs, by name, and messages about what does not."""
    runs, failures = {}, []
    builders: dict[str, BuildRun] = {name: load(peer) for name, peer in SPEED.items()}
    for name, build in {**builders, OURS: _ours}.items():
        note(f"build {name}")
        try:
            runs[name] = build(model, calibration)
        except Exception as error:  # noqa: BLE001  other people's libraries: say so and go on
            failures.append(f"{name} could not be built: {type(error).__name__}.")
            note(f"{name}: {error!r}")
    return runs, failures


def _case(case: Case, runs: Mapping[str, Run]) -> str:
    note(case.name)
    original = runs[BASELINE](case.inputs)
    cosines = {
        name: float(torch.cosine_similarity(run(case.inputs), original).mean())
        for name, run in runs.items()
    }
    once_s = {name: _seconds(run, case.inputs) for name, run in runs.items()}
    slow = hopeless(once_s)
    times = take_turns(
        {name: partial(run, case.inputs) for name, run in runs.items() if name not in slow},
        n_rounds=case.n_rounds,
        n_warm_up=1,
    )
    rows = list(_rows(case, times, cosines))
    parts = [
        f"**{case.name}**",
        table(["", "ms", "× torch fp32 eager", "cosine"], rows),
        _against_floats(times),
    ]
    if slow:
        told = ", ".join(f"{name} {once_s[BASELINE] / once_s[name]:.2f}×" for name in slow)
        parts.append(f"Left out after one run, since far slower than torch fp32 eager: {told}.")
    return "\n\n".join(parts)


def hopeless(seconds: Mapping[str, float]) -> list[str]:
    """Candidates so far behind the baseline that rounds of them would only take time.

    >>> hopeless({"torch fp32 eager": 1.0, "a": 2.0, "b": 9.0})
    ['b']
    """
    return [name for name, s in seconds.items() if s > _HOPELESS * seconds[BASELINE]]


def _seconds(run: Run, inputs: Inputs) -> float:
    start = perf_counter()
    run(inputs)
    return perf_counter() - start


def _rows(case: Case, times: Times, cosines: Mapping[str, float]) -> Iterator[list[str]]:
    for name in sorted(times.names, key=times.median_ms, reverse=True):
        speedup = times.speedup(name, BASELINE)
        bar = case.bars.get(name)
        verdict = f"; {bar.beside(speedup.median, '.2f')}" if bar else ""
        yield [name, f"{times.median_ms(name):.2f}", f"{speedup}{verdict}", f"{cosines[name]:.4f}"]


def _against_floats(times: Times) -> str:
    """Ours against the fastest runtime that computes in float32."""
    fastest = min((name for name in FLOATS if name in times.names), key=times.median_ms)
    ratio = times.speedup(OURS, fastest)
    return f"Ours against the fastest in float32, {fastest}: " + _OVER_FASTEST_FLOAT.beside(
        ratio.median, ".2f"
    )
