"""A model with every layer stored in its scheme, each fitted to the inputs that it sees.

Importing this imports torch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from encoder.errors import InputError
from encoder.quant.calibration import Batch, Objective, run
from encoder.quant.fisher import lookup_grams
from encoder.quant.inputs import Gram, LayerCall, grams, layer_calls
from encoder.quant.layers import Layer, find_layers
from encoder.quant.rounding import descend, gptq
from encoder.quant.schemes import FP32, Scheme
from encoder.quant.stored import swap
from encoder.quant.weights import PackedWeight

Progress = Callable[[str, int, int], None]
"""Called after each layer with its name, the number done and the total."""


class Fitted(NamedTuple):
    """A quantized copy of a model.

    Args:
        module: the copy, in eval mode.
        notes: what was not done as requested, layer by layer, and what was done instead.
    """

    module: nn.Module
    notes: list[str]


def quantize(
    model: nn.Module,
    schemes: Mapping[str, Scheme],
    batches: Sequence[Batch] | None = None,
    *,
    objective: Objective | None = None,
    layers: Mapping[str, Layer] | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Store the layers of a copy of ``model`` in their schemes.

    Each layer is rounded on the inputs that it has in ``model``; its bias then makes up for what
    the mean of its output has lost.

    Args:
        model: any module; it is not changed.
        schemes: by layer name (`find_layers`); layers without one, and FP32 ones, stay.
        batches: calibration inputs, for GPTQ and coordinate descent after it; without them
            weights are rounded by HQQ.
        objective: how a loss is measured. With it embedding tables are rounded by which errors the
            output forgets (`lookup_grams`); without it by HQQ.
        layers: those of ``model`` (`find_layers`); None to find them, with the first batch.
        progress: called after each layer.

    Raises:
        InputError: a name that matches no layer; weights that are not finite.
        ModelError: the model fails on a batch.
    """
    if layers is None:
        layers = find_layers(model, batches[0] if batches else None)
    if unknown := sorted(set(schemes) - set(layers)):
        raise InputError(
            "schemes", got=f"no layer {unknown[0]!r}", wanted=f"one of {', '.join(layers)}"
        )
    fitting = _Fitting(copy.deepcopy(model).eval(), layers, schemes, progress)
    fitting.round_embeddings(model, batches or (), objective)
    if batches:
        fitting.round_linear(model, batches)
    fitting.round_rest(had_batches=bool(batches))
    return Fitted(fitting.model, fitting.notes)


@dataclass(eq=False)
class _Fitting:
    model: nn.Module
    layers: Mapping[str, Layer]
    schemes: Mapping[str, Scheme]
    progress: Progress | None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting = {
            name: layer.of(self.model)
            for name, layer in self.layers.items()
            if self._scheme(name) != FP32
        }
        self.n_layers = len(self.waiting)

    def round_embeddings(
        self, original: nn.Module, batches: Sequence[Batch], objective: Objective | None
    ) -> None:
        tables: Mapping[str, Gram] = {}
        if objective:
            needed = [name for name in self.waiting if self._scheme(name).is_integer]
            layers = {name: self.layers[name] for name in needed}
            tables = lookup_grams(original, layers, batches, objective)
        for layer in [layer for layer in self.waiting.values() if layer.kind == "embedding"]:
            self._store(layer, tables.get(layer.name))

    def round_linear(self, original: nn.Module, batches: Sequence[Batch]) -> None:
        needed = [x for name, x in self.waiting.items() if self._scheme(name).is_integer]
        biases: dict[str, Any] = {}

        def note(call: LayerCall) -> None:
            biases.setdefault(call.layer.name, call.options.get("bias"))

        with layer_calls(needed, note):
            run(self.model, batches[0])
        layers = {layer.name: layer.of(original) for layer in needed}
        for share in grams(original, layers, batches):
            for name in list(share):
                self._store(self.waiting[name], share.pop(name), biases.get(name))

    def round_rest(self, *, had_batches: bool) -> None:
        for layer in list(self.waiting.values()):
            if had_batches and self._scheme(layer.name).is_integer:
                self.notes.append(f"{layer.name}: its inputs were not seen, rounded by HQQ.")
            self._store(layer, None)

    def _scheme(self, name: str) -> Scheme:
        return self.schemes.get(name, FP32)

    @torch.no_grad()
    def _store(self, layer: Layer, gram: Gram | None, bias: Tensor | None = None) -> None:
        """Round, pack and swap one layer, and let its bias keep the mean of its output."""
        rows = layer.rows()
        weight = self._pack(layer, rows, gram)
        is_bias = isinstance(bias, nn.Parameter) and bias.shape == (layer.n_rows,)
        if bias is not None and is_bias and gram and gram.mean is not None:
            missing = (rows - weight.dequantize()).view(len(gram.mean), -1, layer.n_columns)
            bias += (missing @ gram.mean.unsqueeze(2)).view_as(bias)
        swap(self.model, layer, weight)
        del self.waiting[layer.name]
        if self.progress:
            self.progress(layer.name, self.n_layers - len(self.waiting), self.n_layers)

    def _pack(self, layer: Layer, rows: Tensor, gram: Gram | None) -> PackedWeight:
        scheme = self._scheme(layer.name)
        if not scheme.is_integer:
            return PackedWeight.of_floats(rows, scheme)
        if not scheme.fits(layer.n_columns):
            self.notes.append(
                f"{layer.name}: groups of {scheme.group} do not divide its {layer.n_columns} "
                f"columns, a scale per channel instead."
            )
            scheme = Scheme(scheme.bits)
        rounded = gptq(rows, scheme, gram)
        if gram and gram.factor is None:
            self.notes.append(f"{layer.name}: its Gram matrix has no factor, rounded by HQQ.")
        elif gram:
            rounded = descend(rows, rounded, scheme, gram)
        return PackedWeight.of_codes(rounded, scheme)
