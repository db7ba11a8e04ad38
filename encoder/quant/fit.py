"""A model with every layer stored in its scheme, each fitted to the inputs that it will see.

Importing this imports torch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from encoder.errors import InputError
from encoder.quant.calibration import Batch, Objective
from encoder.quant.fisher import lookup_grams
from encoder.quant.inputs import Drift, Gram
from encoder.quant.layers import Layer, find_layers
from encoder.quant.lockstep import LayerStop, in_step
from encoder.quant.pricing import Priced, at_price, narrowest
from encoder.quant.rounding import descend, gptq, hqq
from encoder.quant.schemes import FP32, Scheme
from encoder.quant.stored import swap
from encoder.quant.weights import PackedWeight, Rounded

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
    priced: Priced | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Store the layers of a copy of ``model`` in their schemes.

    Layers are rounded in the order in which the model runs them, each on inputs that come from
    the already quantized layers before it, and towards what the original layer gives on its own
    inputs. All batches run in step, so each model runs once. Two Gram matrices are held at a time,
    and at most 2 GiB of activations (batches for which there is no room are left out and listed).

    Args:
        model: any module; it is not changed.
        schemes: by layer name (`find_layers`); layers without one, and FP32 ones, stay.
        batches: calibration inputs, for GPTQ and coordinate descent after it; without them
            weights are rounded by HQQ.
        objective: how a loss is measured. With it embedding tables are rounded by which errors the
            output forgets (`lookup_grams`); without it by HQQ.
        layers: those of ``model`` (`find_layers`); None to find them, with the first batch.
        priced: layers that are rounded at a price, whatever integer scheme they have; they then
            get the narrowest scheme that holds their codes.
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
    fitting = _Fitting(copy.deepcopy(model).eval(), layers, schemes, priced, progress)
    fitting.round_embeddings(model, batches or (), objective)
    if batches:
        fitting.round_in_order(batches, model)
    fitting.round_rest(had_batches=bool(batches))
    return Fitted(fitting.model, fitting.notes)


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is known about a layer's inputs."""

    gram: Gram
    drift: Drift | None


@dataclass(eq=False)
class _Fitting:
    model: nn.Module
    layers: Mapping[str, Layer]
    schemes: Mapping[str, Scheme]
    priced: Priced | None
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
        grams: Mapping[str, Gram] = {}
        if objective:
            needed = [name for name in self.waiting if self._scheme(name).is_integer]
            layers = {name: self.layers[name] for name in needed}
            grams = lookup_grams(original, layers, batches, objective)
        for layer in [layer for layer in self.waiting.values() if layer.kind == "embedding"]:
            gram = grams.get(layer.name)
            self._store(layer, Inputs(gram, None) if gram else None)

    def round_in_order(self, batches: Sequence[Batch], original: nn.Module) -> None:
        previous: list[tuple[LayerStop, Inputs]] = []

        def solve(stop: LayerStop) -> Tensor | None:
            if stop.layer.name not in self.waiting:
                return None
            shares = previous and stop.sees_what(previous[0][0])
            inputs = previous[0][1] if shares else Inputs(stop.gram(), stop.drift())
            previous[:] = [(stop, inputs)]
            return self._store(stop.layer, inputs, stop.calls[0].options.get("bias"))

        needed = [x for name, x in self.waiting.items() if self._scheme(name).is_integer]
        n_used = in_step(self.model, original, needed, batches, solve)
        if n_used < len(batches):
            self.notes.append(f"{n_used} of {len(batches)} batches fitted: no room for more.")

    def round_rest(self, *, had_batches: bool) -> None:
        for layer in list(self.waiting.values()):
            if had_batches and self._scheme(layer.name).is_integer:
                self.notes.append(f"{layer.name}: its inputs were not seen, rounded by HQQ.")
            self._store(layer, None)

    def _scheme(self, name: str) -> Scheme:
        return self.schemes.get(name, FP32)

    def _store(self, layer: Layer, inputs: Inputs | None, bias: Tensor | None = None) -> Tensor:
        """Round, pack and swap one layer, and correct its bias; return its new weight."""
        rows = layer.rows()
        weight = self._pack(layer, rows, inputs)
        if inputs and inputs.drift and isinstance(bias, nn.Parameter):
            change = inputs.drift.bias_change(rows, weight.dequantize())
            if bias.shape == change.shape:
                with torch.no_grad():
                    bias.add_(change)
        swap(self.model, layer, weight)
        del self.waiting[layer.name]
        if self.progress:
            self.progress(layer.name, self.n_layers - len(self.waiting), self.n_layers)
        return layer.layout.weight(weight.dequantize())

    @torch.no_grad()
    def _pack(self, layer: Layer, rows: Tensor, inputs: Inputs | None) -> PackedWeight:
        scheme = self._scheme(layer.name)
        if not scheme.is_integer:
            return PackedWeight.of_floats(rows, scheme)
        if self.priced and inputs and (worth := self.priced.worths.get(layer.name)):
            gram = worth.shrunk(inputs.gram)
            target = inputs.drift.target(rows, gram) if inputs.drift else rows
            rounded = at_price(target, worth, self.priced.price, gram)
            return PackedWeight.of_codes(rounded, narrowest(rounded.codes))
        if not scheme.fits(layer.n_columns):
            self.notes.append(
                f"{layer.name}: groups of {scheme.group} do not divide its {layer.n_columns} "
                f"columns, a scale per channel instead."
            )
            scheme = Scheme(scheme.bits)
        return PackedWeight.of_codes(self._round(layer.name, rows, scheme, inputs), scheme)

    def _round(self, name: str, rows: Tensor, scheme: Scheme, inputs: Inputs | None) -> Rounded:
        if inputs is None:
            return hqq(rows, scheme)
        if inputs.gram.factor is None:
            self.notes.append(f"{name}: its Gram matrix has no factor, rounded by HQQ.")
            return hqq(rows, scheme)
        target = inputs.drift.target(rows, inputs.gram) if inputs.drift else rows
        return descend(target, gptq(target, scheme, inputs.gram), scheme, inputs.gram)
