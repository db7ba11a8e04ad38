"""EfficientNet-Lite0 in few bits: whether it still gives the same answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.quant import peers, ways
from benchmarks.quant.pictures import SIDE, classifier, pictures
from benchmarks.quant.ways import Figures, Subject
from encoder.quant.calibration import CalibrationData, kl_divergence


class Column(NamedTuple):
    """A figure's heading, its name, its format and what it is multiplied by."""

    heading: str
    figure: str
    form: str
    scale: float = 1.0


_PER_BATCH = 5
_PICTURES = 875
_COLUMNS = (
    Column("agreement, %", "agreement", ".1f", 100),
    Column("KL", "kl", ".4f"),
    Column("top-1, %", "top1", ".1f", 100),
    Column("change, points", "top1_change", "+.1f", 100),
)
_NEAR, _EIGHTH = "Quantizer, 6.1×", "Quantizer, 8×"
_TOP1 = {"top1_change": Bar(at_least=-0.8)}
_BARS = {
    _NEAR: {
        "× smaller": Bar(at_least=6.1),
        "agreement": Bar(at_least=96.5),
        "kl": Bar(at_most=0.027),
        **_TOP1,
    },
    _EIGHTH: {"× smaller": Bar(at_least=8.0), **_TOP1},
}


def lite0(settings: Settings) -> None:
    """Judge EfficientNet-Lite0 at several sizes."""
    n_pictures = settings.items(_PICTURES, 20)
    subject = subject_of(settings, n_pictures)
    judged = (
        f"On {n_pictures} pictures, one of a class each (top-1 is good to ±1.5 points: trust "
        "agreement and KL); every eighth class gives the "
        f"{subject.n_calibration} others: half fit and half rank the layers, then the chosen "
        "schemes are rounded again on all. GPTQ of uniform schemes fits on all, too. "
        "Weights only; every byte counts."
    )
    body = compare(subject, _ways(subject))
    report(settings, "Quantized EfficientNet-Lite0: quality by size", judged, body)


def _ways(subject: Subject) -> Mapping[str, Callable[[], ways.Way]]:
    return {
        "float32": lambda: ways.as_it_is(subject),
        _NEAR: lambda: ways.mixed(subject, "6.1x"),
        "Quantizer, 7×": lambda: ways.mixed(subject, "7x"),
        _EIGHTH: lambda: ways.mixed(subject, "8x"),
        "INT8, GPTQ": lambda: ways.uniform(subject, "int8"),
        "INT4, GPTQ": lambda: ways.uniform(subject, "int4"),
    }


def compare(subject: Subject, made: Mapping[str, Callable[[], ways.Way]]) -> str:
    """A table of the ways, of which the first is the original: sizes, figures, and their bars."""
    rows = []
    original_nbytes = 0
    for name, make in made.items():
        note(name)
        way = make()
        original_nbytes = original_nbytes or way.nbytes
        figures, bars = subject.judge(way.model), _BARS.get(name, {})
        cells = [_cell(original_nbytes / way.nbytes, ".2f", bars.get("× smaller"))]
        cells += [_cell(figures[c.figure] * c.scale, c.form, bars.get(c.figure)) for c in _COLUMNS]
        rows.append([name, f"{way.nbytes / 1e6:.2f}", *cells, way.schemes])
    headings = ["way", "MB", "× smaller", *(column.heading for column in _COLUMNS), "layers"]
    return table(headings, rows)


def _cell(value: float, form: str, bar: Bar | None) -> str:
    return bar.beside(value, form) if bar else f"{value:{form}}"


def subject_of(settings: Settings, n_pictures: int) -> Subject:
    """EfficientNet-Lite0; ``n_pictures`` of the 875 that are kept for it judge."""
    cache = settings.folder / "quant"
    held_out = pictures(cache, "evaluation", SIDE)
    n = min(n_pictures, len(held_out))
    rows = np.linspace(0, len(held_out) - 1, n).astype(int)
    shown = type(held_out)(held_out.squares[rows], held_out.labels[rows])

    def answer(model: nn.Module) -> Tensor:
        # exactly the same network, twice as fast as in torch
        batches = [{"pixels": torch.from_numpy(x)} for x, _ in shown.batches(_PER_BATCH)]
        run = peers.onnxruntime_float32(model, batches[:1])
        return torch.cat([run(batch) for batch in batches])

    fitted = pictures(cache, "calibration", SIDE).batches(_PER_BATCH)
    batches = [{"pixels": torch.from_numpy(x)} for x, _ in islice(fitted, settings.items(25, 2))]
    return Subject(
        f"lite0 on {n} pictures",
        classifier(cache),
        "kl",
        CalibrationData.split(batches),
        answer,
        partial(figures_of, labels=shown.labels),
    )


def figures_of(original: Tensor, quantized: Tensor, labels: NDArray[np.int64]) -> Figures:
    """Figures from logits [n, n_classes] and the true classes [n].

    Returns:
        ``kl`` in nats, mean; ``agreement``, the share of equal first choices; ``top1`` and
        ``top1_change``, the share of correct first choices and its change.
    """
    first, second = original.argmax(1).numpy(), quantized.argmax(1).numpy()
    top1 = float((second == labels).mean())
    return {
        "kl": float(kl_divergence(original.double(), quantized.double()).mean()),
        "agreement": float((first == second).mean()),
        "top1": top1,
        "top1_change": top1 - float((first == labels).mean()),
    }
