"""How much a model's output suffers when one layer is stored in few bits: measured.

Each layer is rounded alone, at each width, fitted on one half of the data and judged by the
output's divergence on the other half. Losses of single layers are then taken to add up, as in
HAWQ-V3 (Yao et al., 2021) and its kin; the output's divergence ranks layers better than weight
errors or Fisher information do. Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from encoder.errors import InputError
from encoder.quant.calibration import Batch, CalibrationData, batch_items, forward
from encoder.quant.divergence import Objective, divergence
from encoder.quant.fisher import fisher_diagonals, fisher_loss
from encoder.quant.journal import Journal, key_of
from encoder.quant.layers import Layer, find_layers, unsupported
from encoder.quant.prefix import PrefixRuns, changed, check_finite, evaluating, no_grad
from encoder.quant.progress import Advance, progress_bar
from encoder.quant.quantized import model_nbytes
from encoder.quant.report import Row, SensitivityReport, width
from encoder.quant.rounding import Gram, grams, round_rows
from encoder.quant.rounding.collect import execution_order
from encoder.quant.schemes import FP16, FP32, INT3, INT4, INT8, Scheme

Mode = Literal["measured", "fisher"]

MAX_ITEMS = 64
"""Of each half of the data; more change little and cost time in proportion."""

_SHARED_NOTE = "its share, by values, of the loss with all layers in fp16"


def analyze(
    model: nn.Module,
    data: CalibrationData,
    *,
    schemes: Sequence[Scheme] | None = None,
    objective: Objective | Literal["auto"] = "auto",
    mode: Mode = "measured",
    rounding: str = "gptq",
    cache: Path | None = None,
    progress: bool = True,
    max_items: int = MAX_ITEMS,
) -> SensitivityReport:
    """Find the loss of every layer in every candidate scheme.

    FP32 loses nothing and FP16 next to nothing: all layers are stored in FP16 once, and the loss
    is shared out by the number of values.

    Args:
        model: any module that takes the batches; it comes back as it was.
        data: see `CalibrationData`.
        schemes: the candidates for every layer; None for `candidates`. FP16 and FP32 are always
            among them. One whose group does not divide a layer's rows is left out there.
        objective: ``auto`` for `choose_objective`.
        mode: ``measured`` runs the model for each row. ``fisher`` takes seconds (see
            `encoder.quant.fisher`) and ranks worse: use it to explore, not to decide.
        rounding: a method of `encoder.quant.rounding`, for ``measured``.
        cache: a folder that keeps measurements, so that a stopped analysis goes on.
        progress: show a bar if standard error is a terminal.
        max_items: of each half of the data.

    Raises:
        InputError: no layer that can be quantized, or weights that are not finite.
        ModelError: the model fails, or its own output is not finite.
    """
    layers = find_layers(model)
    if not layers:
        raise InputError(
            "model",
            got=f"{type(model).__name__} without a layer that can be quantized",
            wanted="Linear, Conv1d/2d/3d or Embedding layers",
        )
    data = CalibrationData(_some(data.fit, max_items), _some(data.score, max_items))
    wanted = {name: _wanted(layer, schemes) for name, layer in layers.items()}
    notes = [
        f"{name}: no {scheme.name}, its rows have {layers[name].n_columns} values"
        for name in layers
        for scheme in schemes or ()
        if not scheme.fits(layers[name].n_columns)
    ]
    with evaluating(model):
        if objective == "auto":
            objective = choose_objective(model, data.score[0])
        find = _measure if mode == "measured" else _estimate
        rows = find(model, layers, wanted, data, objective, rounding, cache, progress)
    used = data.score if mode == "measured" else data.fit
    return SensitivityReport(
        rows=tuple(
            sorted(rows, key=lambda row: (list(layers).index(row.layer), width(row.scheme)))
        ),
        objective=objective,
        mode=mode,
        fp32_nbytes=model_nbytes(model),
        n_items=sum(batch_items(batch) for batch in used),
        unsupported=tuple(unsupported(model)),
        notes=tuple(notes),
    )


def candidates(layer: Layer) -> list[Scheme]:
    """Integer schemes worth a measurement, by the kind of layer.

    INT3, INT4 and INT8 per channel. For Linear also INT4 in groups of 64 (or 32); for Embedding,
    whose rows no Gram matrix helps to round, INT3 in groups too and INT4 in both sizes: on MiniLM
    groups of 64 cut a table's loss at INT3 to a third. Convolutions have short rows that groups
    rarely divide, and runtimes take them per channel.
    """
    grouped = [group for group in (64, 32) if layer.n_columns % group == 0]
    by_kind = {
        "conv": [],
        "linear": [Scheme(4, group) for group in grouped[:1]],
        "embedding": [
            *(Scheme(3, group) for group in grouped[:1]),
            *(Scheme(4, group) for group in grouped),
        ],
    }
    return [INT3, INT4, INT8, *by_kind[layer.kind]]


def choose_objective(model: nn.Module, batch: Batch) -> Objective:
    """``kl`` for what gives logits, else ``cosine``.

    Logits are an output object's ``logits``, or an output that is what an ``nn.Linear`` gave
    last, unchanged. An embedder that ends in a plain projection looks the same: say ``cosine``.
    """
    found: dict[str, Any] = {}

    def note(key: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: found.__setitem__(key, output)

    hooks = [model.register_forward_hook(note("output"))]
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    hooks += [module.register_forward_hook(note("linear")) for module in linears]
    try:
        with no_grad():
            output = forward(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    if isinstance(getattr(found["output"], "logits", None), Tensor):
        return "kl"
    last = found.get("linear", torch.empty(0))
    same = last.numel() == output.numel() and last.data_ptr() == output.data_ptr()
    return "kl" if same else "cosine"


def _measure(
    model: nn.Module,
    layers: Mapping[str, Layer],
    wanted: Mapping[str, Sequence[Scheme]],
    data: CalibrationData,
    objective: Objective,
    rounding: str,
    cache: Path | None,
    progress: bool,
) -> list[Row]:
    journal = _journal(model, data, cache, objective=objective, rounding=rounding)
    pending = {
        name: [scheme for scheme in wanted[name] if journal.get(name, scheme.name) is None]
        for name in layers
    }
    pending = {name: missing for name, missing in pending.items() if missing}
    if pending or journal.get("", FP16.name) is None:
        runs = PrefixRuns(model, layers, data.score)
        for index, output in enumerate(runs.outputs):
            check_finite(output, f"batch {index} of the data that judges")
        with progress_bar("Sensitivity", sum(map(len, pending.values())), show=progress) as advance:
            _fill(journal, runs, model, layers, pending, data, objective, rounding, advance)
    rows = [
        _row(layers[name], scheme, journal.get(name, scheme.name))
        for name in layers
        for scheme in wanted[name]
    ]
    return rows + _float_rows(layers, journal.get("", FP16.name) or 0.0)


def _fill(
    journal: Journal,
    runs: PrefixRuns,
    model: nn.Module,
    layers: Mapping[str, Layer],
    pending: Mapping[str, Sequence[Scheme]],
    data: CalibrationData,
    objective: Objective,
    rounding: str,
    advance: Advance,
) -> None:
    """Measure what is missing, layer by layer."""
    if journal.get("", FP16.name) is None:
        journal.add("", FP16.name, _fp16_loss(runs, model, layers, data, objective))
    multiplied = execution_order(model, layers, data.score[0])
    for name, gram in _with_grams(model, layers, pending, data.fit, rounding):
        layer = layers[name]
        used = None if name in multiplied else runs.looked_up(layer)
        for scheme in pending[name]:
            weight = _rounded(layer, used, scheme, gram, rounding)
            loss = _mean(objective, runs.outputs, runs.run(layer, weight))
            journal.add(name, scheme.name, loss)
            advance(f"{name} {scheme.name}")


def _rounded(
    layer: Layer, used: Tensor | None, scheme: Scheme, gram: Gram | None, rounding: str
) -> Tensor:
    """The layer's weight; of an embedding only the rows that the data looks up need the work."""
    rows = layer.rows()
    if used is None:
        rounded = round_rows(rows, scheme, gram, rounding).dequantize()
    else:
        rounded = rows.clone()
        rounded[used] = round_rows(rows[used], scheme, gram, rounding).dequantize()
    return rounded.view_as(layer.weight)


def _with_grams(
    model: nn.Module,
    layers: Mapping[str, Layer],
    pending: Mapping[str, Sequence[Scheme]],
    batches: Sequence[Batch],
    rounding: str,
) -> Iterator[tuple[str, Gram | None]]:
    """Each pending layer once, with its Gram matrix where there is one."""
    left = dict.fromkeys(pending)
    if rounding in ("gptq", "mse"):
        needed = {name: layers[name] for name in pending if layers[name].kind != "embedding"}
        for share in grams(model, needed, batches):
            for name in list(share):
                del left[name]
                yield name, share.pop(name)
    yield from ((name, None) for name in left)


def _fp16_loss(
    runs: PrefixRuns,
    model: nn.Module,
    layers: Mapping[str, Layer],
    data: CalibrationData,
    objective: Objective,
) -> float:
    """With all layers that FP16 can hold stored in it at once."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        for layer in layers.values():
            if _fits_fp16(layer):
                stack.enter_context(changed(layer, layer.weight.detach().half().float()))
        stack.enter_context(no_grad())
        outputs = (forward(model, batch).float() for batch in data.score)
        return _mean(objective, runs.outputs, outputs)


def _estimate(
    model: nn.Module,
    layers: Mapping[str, Layer],
    wanted: Mapping[str, Sequence[Scheme]],
    data: CalibrationData,
    objective: Objective,
    rounding: str,  # noqa: ARG001 - what spreads errors well does not keep each of them small
    cache: Path | None,  # noqa: ARG001 - seconds are not worth a file
    progress: bool,
) -> list[Row]:
    diagonals = fisher_diagonals(model, layers, data.fit, objective)
    rows = []
    with progress_bar("Sensitivity", sum(map(len, wanted.values())), show=progress) as advance:
        for name, layer in layers.items():
            weight = layer.rows()
            for scheme in wanted[name]:
                rounded = round_rows(weight, scheme, None, "mse").dequantize()
                rows.append(_row(layer, scheme, fisher_loss(diagonals[name], rounded - weight)))
                advance(f"{name} {scheme.name}")
            if _fits_fp16(layer):
                error = weight.half().float() - weight
                rows.append(_row(layer, FP16, fisher_loss(diagonals[name], error)))
            rows.append(_row(layer, FP32, 0.0))
    return rows


def _float_rows(layers: Mapping[str, Layer], fp16_loss: float) -> list[Row]:
    fitting = [layer for layer in layers.values() if _fits_fp16(layer)]
    n_values = sum(layer.weight.numel() for layer in fitting) or 1
    half = [
        _row(layer, FP16, fp16_loss * layer.weight.numel() / n_values, _SHARED_NOTE)
        for layer in fitting
    ]
    return half + [_row(layer, FP32, 0.0) for layer in layers.values()]


def _row(layer: Layer, scheme: Scheme, loss: float | None, note: str = "") -> Row:
    assert loss is not None
    n_values = layer.weight.numel()
    return Row(layer.name, layer.kind, scheme, loss, layer.nbytes(scheme), n_values, note)


def _mean(objective: Objective, originals: Sequence[Tensor], outputs: Iterator[Tensor]) -> float:
    """Over all items; double, since small losses are differences of nearly equal numbers."""
    total, n = 0.0, 0
    for original, output in zip(originals, outputs, strict=True):
        total += divergence(objective, original.double(), output.double()).item() * len(original)
        n += len(original)
    loss = total / n
    return max(0.0, loss) if loss == loss else float("inf")


def _wanted(layer: Layer, schemes: Sequence[Scheme] | None) -> list[Scheme]:
    """Integer schemes to measure for a layer."""
    offered = candidates(layer) if schemes is None else dict.fromkeys(schemes)
    return [scheme for scheme in offered if scheme.is_integer and scheme.fits(layer.n_columns)]


def _fits_fp16(layer: Layer) -> bool:
    return bool(torch.isfinite(layer.weight.detach().half()).all())


def _some(batches: Sequence[Batch], max_items: int) -> list[Batch]:
    """Batches from all over, with about ``max_items`` items; they may be sorted by length."""
    if not batches:
        raise InputError(
            "calibration", got="no batches", wanted="batches that fit and batches that judge"
        )
    n_items = sum(batch_items(batch) for batch in batches)
    return list(batches[:: -(-n_items // max_items)])


def _journal(
    model: nn.Module, data: CalibrationData, cache: Path | None, **settings: str
) -> Journal:
    if cache is None:
        return Journal(None)
    batches = {"fit": list(data.fit), "score": list(data.score)}
    return Journal(Path(cache) / f"{key_of(model, batches, settings)}.jsonl")
