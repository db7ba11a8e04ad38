"""Who allocates bits best: the Quantizer, NVIDIA ModelOpt, or the same width for all layers.

Everything else is equal: the same candidate widths, the same bytes, the same GPTQ, and what
ModelOpt does not cover (embeddings) in INT8 for all. Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from benchmarks.harness.reporting import Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.peers import ALLOCATION, load
from benchmarks.peers.base import Inputs, Loss
from benchmarks.peers.modelopt import classifier_loss, embedding_loss
from benchmarks.quant.networks import subjects
from benchmarks.quant.networks.subjects import Subject
from encoder.quant.allocation.allocate import allocate
from encoder.quant.allocation.sharing import attention_groups
from encoder.quant.export.quantized_onnx import float_twin
from encoder.quant.fitting.fit import quantize
from encoder.quant.layers import find_layers
from encoder.quant.quantizer import Quantizer
from encoder.quant.report.report import SensitivityReport
from encoder.quant.schemes import INT8, Scheme

Schemes = dict[str, Scheme]
WIDTHS = (4.0, 4.5, 5.0, 6.0)
_CANDIDATES = (3, 4, 5, 6, 8)
_SCORED_ITEMS = 128
_ITEMS_PER_GRADIENT = 8
_UNIFORM, _MODELOPT, _OURS = "uniform", "ModelOpt", "Quantizer"


def lite0(settings: Settings) -> None:
    """EfficientNet-Lite0 by KL."""
    subject = subjects.lite(settings, "lite0", settings.items(400, 20))
    _compare(settings, "EfficientNet-Lite0", subject, classifier_loss)


def minilm(settings: Settings) -> None:
    """MiniLM by 1 − cosine."""
    subject = subjects.minilm(settings, settings.items(200, 20))
    _compare(settings, "MiniLM", subject, embedding_loss)


def _compare(settings: Settings, name: str, subject: Subject, loss: Loss) -> None:
    widths = WIDTHS[:: settings.items(1, 3)]
    theirs = _of_modelopt(subject, widths, loss)
    report_of_ours = Quantizer(
        subject.model,
        subject.data,
        objective=subject.objective,
        cache=subject.cache / "sensitivity",
    ).analyze_sensitivity()
    rows = []
    for width in widths:
        note(f"{width} bits")
        shares = {
            _UNIFORM: dict.fromkeys(theirs[width], Scheme(round(width)))
            if width % 1 == 0
            else None,
            _MODELOPT: theirs[width],
            _OURS: _of_ours(subject, report_of_ours, theirs[width]),
        }
        rows.append(list(_row(width, subject, shares)))
    measure = "KL" if subject.objective == "kl" else "1 − cosine"
    intro = (
        f"{measure} on {subject.name.partition(' on ')[2]} that fitted nothing. Layers may have "
        f"{', '.join(f'INT{n}' for n in _CANDIDATES)}; ours has no more bytes than ModelOpt's. "
        "In brackets the average bits of weights."
    )
    headings = ["average bits", _UNIFORM, _MODELOPT, _OURS, "bar: ours below"]
    report(settings, f"Sharing out bits: {name}", intro, table(headings, rows))


def _row(width: float, subject: Subject, shares: Mapping[str, Schemes | None]) -> Iterator[str]:
    found: dict[str, float] = {}
    yield f"{width:g}"
    for name, schemes in shares.items():
        if schemes is None:
            yield "–"
            continue
        found[name] = _loss(subject, schemes)
        note(f"{name}: {found[name]:.5f}")
        yield f"{found[name]:.5f} ({average_bits(subject.model, schemes):.2f})"
    ours = found.pop(_OURS)
    yield ", ".join(f"{name} {'met' if ours < loss else 'missed'}" for name, loss in found.items())


def _loss(subject: Subject, schemes: Schemes) -> float:
    figures = subject.judge(rounded(subject.model, schemes, subject.everything.fit))
    return figures["kl"] if subject.objective == "kl" else 1 - figures["cosine"]


def _of_modelopt(subject: Subject, widths: Sequence[float], loss: Loss) -> Mapping[float, Schemes]:
    note("ModelOpt's allocation")
    torch.manual_seed(0)
    scored = list(_small(subject.everything.fit))[: _SCORED_ITEMS // _ITEMS_PER_GRADIENT]
    chosen = load(ALLOCATION["ModelOpt auto_quantize"])(
        subject.model, scored, widths, _CANDIDATES, loss
    )
    return {
        width: {name: Scheme(bits) for name, bits in layers.items()}
        for width, layers in chosen.items()
    }


def _small(batches: Sequence[Inputs]) -> Iterator[Inputs]:
    """Batches that leave room for a gradient."""
    for batch in batches:
        n = len(next(iter(batch.values())))
        for start in range(0, n, _ITEMS_PER_GRADIENT):
            yield {k: x[start : start + _ITEMS_PER_GRADIENT] for k, x in batch.items()}


def _of_ours(subject: Subject, measured: SensitivityReport, theirs: Schemes) -> Schemes:
    """Our allocation for the same layers, widths and bytes as theirs."""
    layers = find_layers(subject.model)
    options = {
        name: [option for option in choices if option.scheme in map(Scheme, _CANDIDATES)]
        for name, choices in measured.options().items()
        if name in theirs
    }
    max_bytes = sum(layers[name].nbytes(scheme) for name, scheme in theirs.items())
    return allocate(options, max_bytes=max_bytes, groups=attention_groups(options)).schemes


def average_bits(model: nn.Module, schemes: Mapping[str, Scheme]) -> float:
    """Bits per weight, scales left out, over the named layers."""
    sizes = {name: layer.weight.numel() for name, layer in find_layers(model).items()}
    total = sum(sizes[name] * scheme.bits for name, scheme in schemes.items())
    return total / sum(sizes[name] for name in schemes)


def rounded(
    model: nn.Module, schemes: Mapping[str, Scheme], batches: Sequence[Inputs]
) -> nn.Module:
    """A float32 copy, rounded by our GPTQ layer after layer; layers not named become INT8."""
    everywhere = {name: schemes.get(name, INT8) for name in find_layers(model)}
    return float_twin(quantize(model, everywhere, batches).module)
