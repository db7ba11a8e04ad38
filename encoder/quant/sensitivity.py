"""How much a model's output suffers when one layer is stored in few bits: measured.

Each layer is rounded alone, at each width, fitted on one half of the data and judged by the
output's divergence on the other half. The layers' losses are then assumed to add up, as in HAWQ-V3
(Yao et al., 2021) and similar methods; the output's divergence ranks layers better than weight
errors or Fisher information do. Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from encoder.errors import InputError, ModelError
from encoder.quant.calibration import (
    Batch,
    CalibrationData,
    Objective,
    batch_items,
    divergence,
    evaluating,
    forward,
    named_of,
    run,
)
from encoder.quant.fisher import lookup_grams
from encoder.quant.inputs import Gram, execution_order, grams
from encoder.quant.layers import Layer, changed, some_layers, unsupported
from encoder.quant.quantized import model_nbytes
from encoder.quant.report import Row, SensitivityReport, width
from encoder.quant.rounding import gptq
from encoder.quant.schemes import FP16, FP32, INT3, INT4, INT5, INT6, INT8, Scheme
from encoder.quant.uses import lookups
from encoder.system.progress import progress_bar

Rounding = Literal["gptq", "hqq"]
"""How weights are rounded: fitted to the data, or without it."""

MAX_ITEMS = 32
"""The most items that judge; an analysis takes time in proportion to them."""

_MAX_FIT_ITEMS = 128
_SHARED_NOTE = "its share, by values, of the loss with all layers in fp16"


def analyze(
    model: nn.Module,
    data: CalibrationData,
    *,
    schemes: Sequence[Scheme] | None = None,
    objective: Objective | Literal["auto"] = "auto",
    rounding: Rounding = "gptq",
    progress: bool = True,
    max_items: int = MAX_ITEMS,
) -> SensitivityReport:
    """Find the loss of every layer in every candidate scheme.

    FP32 loses nothing and FP16 next to nothing: all layers are stored in FP16 at once, and the
    loss is divided among them by their number of values.

    Args:
        model: any module that takes the batches; it is left as it was.
        data: see `CalibrationData`.
        schemes: the candidates for every layer; None for `candidates`. FP16 and FP32 are always
            among them. One whose group does not divide a layer's rows is left out there.
        objective: ``auto`` for `choose_objective`.
        rounding: see `Rounding`.
        progress: show a bar if standard error is a terminal.
        max_items: the most items that judge.

    Raises:
        InputError: no layer that can be quantized, or weights that are not finite.
        ModelError: the model fails, or its own output is not finite.
    """
    data = CalibrationData(_some(data.fit, _MAX_FIT_ITEMS), _some(data.score, max_items))
    layers = some_layers(model, data.score[0])
    schemes_by_layer = {name: _wanted(layer, schemes) for name, layer in layers.items()}
    with evaluating(model):
        if objective == "auto":
            objective = choose_objective(model, data.score[0])
        task = _Task(model, layers, schemes_by_layer, data, objective, rounding)
        rows = _measure(task, show=progress)
    order = {name: index for index, name in enumerate(layers)}
    return SensitivityReport(
        rows=tuple(sorted(rows, key=lambda row: (order[row.layer], width(row.scheme)))),
        objective=objective,
        fp32_nbytes=model_nbytes(model),
        n_items=sum(map(batch_items, data.score)),
        unsupported=tuple(unsupported(model, layers)),
        notes=tuple(
            f"{name}: no {scheme.name}, its rows have {layer.n_columns} values"
            for name, layer in layers.items()
            for scheme in schemes or ()
            if not scheme.fits(layer.n_columns)
        ),
    )


def candidates(layer: Layer) -> list[Scheme]:
    """Integer schemes worth measuring, by the kind of layer.

    INT3 to INT6 and INT8 per channel; no INT3 for depthwise convolutions, whose few values are
    sensitive and save next to nothing. For Linear, LSTM and similar layers also INT4 in groups of
    64 (or 32); for Embedding INT3 in groups too and INT4 in both sizes: on MiniLM groups of 64 cut
    a table's loss at INT3 to less than half. Convolutions have short rows that groups rarely
    divide, and runtimes take them per channel.
    """
    grouped = [group for group in (64, 32) if layer.n_columns % group == 0]
    of_products = [Scheme(4, group) for group in grouped[:1]]
    by_kind: dict[str, list[Scheme]] = {
        "linear": of_products,
        "recurrent": of_products,
        "bilinear": of_products,
        "embedding": [
            *(Scheme(3, group) for group in grouped[:1]),
            *(Scheme(4, group) for group in grouped),
        ],
    }
    narrow = [] if layer.n_conv_groups == layer.n_rows > 1 else [INT3]
    return [*narrow, INT4, INT5, INT6, INT8, *by_kind.get(layer.kind, [])]


def choose_objective(model: nn.Module, batch: Batch) -> Objective:
    """``kl`` for models that return logits, otherwise ``cosine``.

    Logits are an output object's ``logits``, or an output that is the unchanged output of the last
    ``nn.Linear``. An embedder that ends in a plain projection looks the same: pass ``cosine``.
    """
    outputs: dict[str, Any] = {}

    def note(key: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: outputs.__setitem__(key, output)

    hooks = [model.register_forward_hook(note("output"))]
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    hooks += [module.register_forward_hook(note("linear")) for module in linears]
    try:
        with torch.no_grad():
            output = forward(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    if isinstance((named_of(outputs["output"]) or {}).get("logits"), Tensor):
        return "kl"
    last = outputs.get("linear", torch.empty(0))
    same = last.numel() == output.numel() and last.data_ptr() == output.data_ptr()
    return "kl" if same else "cosine"


def loss_of(
    objective: Objective, original: nn.Module, quantized: nn.Module, batches: Sequence[Batch]
) -> float:
    """The mean over batches of how far a quantized model's output is from the original's."""
    losses = [
        divergence(objective, run(original, batch), run(quantized, batch)).item()
        for batch in batches
    ]
    return sum(losses) / len(losses)


@dataclass(frozen=True, eq=False)
class _Task:
    """What to measure: integer schemes by layer name; and how, and on what data."""

    model: nn.Module
    layers: Mapping[str, Layer]
    schemes: Mapping[str, Sequence[Scheme]]
    data: CalibrationData
    objective: Objective
    rounding: Rounding


def _measure(task: _Task, *, show: bool) -> list[Row]:
    ids: dict[int, list[Tensor]] = {}
    with lookups(lambda table, x, _: ids.setdefault(table.data_ptr(), []).append(x.flatten())):
        originals = _outputs(task)
    for index, output in enumerate(originals):
        if not torch.isfinite(output).all():
            raise ModelError(
                f"The model itself returns NaN or infinity on batch {index} of the data that "
                "judges.",
                remedy="Check that batch and the checkpoint; nothing can be compared with it.",
            )
    multiplied = execution_order(task.model, task.layers, task.data.score[0])
    rows = []
    with progress_bar("Sensitivity", sum(map(len, task.schemes.values())), show=show) as advance:
        for name, gram in _with_grams(task):
            layer = task.layers[name]
            is_table = layer.only_looked_up and name not in multiplied
            looked_up = ids.get(layer.weight.data_ptr()) if is_table else None
            used = torch.unique(torch.cat(looked_up)) if looked_up else None
            for scheme in task.schemes[name]:
                with changed(layer, _rounded(layer, used, scheme, gram)):
                    loss = _mean(task.objective, originals, _outputs(task))
                rows.append(_row(layer, scheme, loss))
                advance(f"{name} {scheme.name}")
    return rows + _float_rows(task.layers, _fp16_loss(task, originals))


def _outputs(task: _Task) -> list[Tensor]:
    return [run(task.model, batch) for batch in task.data.score]


def _rounded(layer: Layer, used: Tensor | None, scheme: Scheme, gram: Gram | None) -> Tensor:
    """The layer's rounded weight; of an embedding, only the rows that the data looks up."""
    rows = layer.rows()
    if used is None:
        rounded = gptq(rows, scheme, gram).dequantize()
    else:
        rounded = rows.clone()
        rounded[used] = gptq(rows[used], scheme, gram).dequantize()
    return layer.layout.weight(rounded)


def _with_grams(task: _Task) -> Iterator[tuple[str, Gram | None]]:
    """Each layer once, with its Gram matrix where there is one."""
    remaining = dict.fromkeys(task.layers)
    tables: Mapping[str, Gram] = {}
    if task.rounding == "gptq":
        needed = {name: layer for name, layer in task.layers.items() if layer.kind != "embedding"}
        for share in grams(task.model, needed, task.data.fit):
            for name in list(share):
                del remaining[name]
                yield name, share.pop(name)
        looked_up = {name: task.layers[name] for name in remaining}
        tables = lookup_grams(task.model, looked_up, task.data.fit, task.objective)
    yield from ((name, tables.get(name)) for name in remaining)


def _fp16_loss(task: _Task, originals: Sequence[Tensor]) -> float:
    """The loss with all layers that FP16 can hold stored in it at once."""
    with ExitStack() as stack:
        for layer in task.layers.values():
            if _fits_fp16(layer):
                stack.enter_context(changed(layer, layer.weight.detach().half().float()))
        return _mean(task.objective, originals, _outputs(task))


def _float_rows(layers: Mapping[str, Layer], fp16_loss: float) -> list[Row]:
    fitting = [layer for layer in layers.values() if _fits_fp16(layer)]
    n_values = sum(layer.weight.numel() for layer in fitting) or 1
    half = [
        _row(layer, FP16, fp16_loss * layer.weight.numel() / n_values, _SHARED_NOTE)
        for layer in fitting
    ]
    return half + [_row(layer, FP32, 0.0) for layer in layers.values()]


def _row(layer: Layer, scheme: Scheme, loss: float, note: str = "") -> Row:
    n_values = layer.weight.numel()
    return Row(
        layer.name,
        layer.kind,
        scheme,
        loss=loss,
        nbytes=layer.nbytes(scheme),
        n_values=n_values,
        note=note,
    )


def _mean(objective: Objective, originals: Sequence[Tensor], outputs: Sequence[Tensor]) -> float:
    """The mean over all items, in double, as small losses are differences of near equal numbers."""
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
    """Evenly spaced batches with about ``max_items`` items, as they may be sorted by length."""
    if not batches:
        raise InputError(
            "calibration", got="no batches", wanted="batches that fit and batches that judge"
        )
    n_items = sum(batch_items(batch) for batch in batches)
    return list(batches[:: -(-n_items // max_items)])
