"""The ranges of a network's activations, for `encoder.onnx.static`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError, ModelError
from encoder.onnx.activations import WEIGHTED, Activation, find_activations, load_folded
from encoder.runtime.base import Array

if TYPE_CHECKING:
    import onnx

Range: TypeAlias = tuple[float, float]
"""Least and greatest value, with zero between them."""

OP_TYPES = (
    *WEIGHTED,
    *("Add", "Clip", "Relu", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Flatten", "Reshape", "Pad"),
)
"""Operators that compute in integers; all others stay float."""

_N_BINS = 8192


def activation_ranges(
    source: Path,
    examples: Sequence[Mapping[str, Array]],
    *,
    keep: Collection[str] = (),
    beyond: float = 0.0,
) -> dict[str, Range]:
    """Measure the range of each activation.

    On EfficientNet-Lite2 the least and the greatest value (``beyond=0``) are as good as the 99.99
    and 99.999 percentiles and ranges of least squared error, and the 99.9 percentile is far worse.
    On aiSFX the 99.999 percentile is best (``scripts/fit_activation_ranges.py``).

    Args:
        source: a float32 ONNX file.
        examples: inputs by name; a hundred typical ones are enough.
        keep: layers that stay float, see `find_activations`.
        beyond: the share of an activation's values that may lie beyond each end of its range,
            so that a few large ones do not make the steps coarse for all; they are clipped.

    Returns:
        Ranges by names that other exports of the same network share
        (`encoder.onnx.activations`).

    Raises:
        InputError: there are no examples, or a layer to keep is not there.
        ModelError: an activation is not finite.
    """
    model = load_folded(source)
    activations, _ = find_activations(model, OP_TYPES, keep)
    ranges: dict[str, Range] = {}
    for tensors in _observe(model, activations, examples):
        for activation in activations:
            known = ranges.get(activation.name, (0.0, 0.0))
            ranges[activation.name] = _widened(
                known, tensors[activation.tensor], activation, source
            )
    if not ranges:
        raise InputError("examples", got="none", wanted="inputs of the network, by name")
    return _narrowed(ranges, model, activations, examples, beyond) if beyond else ranges


def quantiles(counts: NDArray[np.int64], within: Range, beyond: float) -> Range:
    """The range that leaves at most a share of the values outside on each side.

    Args:
        counts: how many values are in each bin; bins have equal widths.
        within: where the first bin begins and the last ends.
        beyond: the share.

    Returns:
        Ends of bins, or zero where that is further out.
    """
    edges = np.linspace(*within, len(counts) + 1)
    spare = beyond * counts.sum()
    n_low = int((np.cumsum(counts) <= spare).sum())
    n_high = int((np.cumsum(counts[::-1]) <= spare).sum())
    return min(0.0, float(edges[n_low])), max(0.0, float(edges[::-1][n_high]))


def _narrowed(
    ranges: Mapping[str, Range],
    model: onnx.ModelProto,
    activations: list[Activation],
    examples: Iterable[Mapping[str, Array]],
    beyond: float,
) -> dict[str, Range]:
    """Run the examples again and narrow the ranges by counting values in bins."""
    counts = {name: np.zeros(_N_BINS, np.int64) for name in ranges}
    for tensors in _observe(model, activations, examples):
        for activation in activations:
            name = activation.name
            found, _ = np.histogram(tensors[activation.tensor], _N_BINS, ranges[name])
            counts[name] += found
    return {name: quantiles(counts[name], within, beyond) for name, within in ranges.items()}


def _observe(
    model: onnx.ModelProto,
    activations: list[Activation],
    examples: Iterable[Mapping[str, Array]],
) -> Iterator[dict[str, Array]]:
    """Run the examples; yield the inputs and every activation of each, by tensor name."""
    import onnx

    from encoder.runtime.onnx import OnnxSession

    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    outputs = observed.graph.output
    known = {value.name for value in (*observed.graph.input, *outputs)}
    values = {value.name: value for value in observed.graph.value_info}
    outputs.extend(values[a.tensor] for a in activations if a.tensor not in known)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "observed.onnx"
        onnx.save(observed, path)
        session = OnnxSession(path)
    names = [value.name for value in outputs]
    for inputs in examples:
        yield {**inputs, **dict(zip(names, session.run(inputs), strict=True))}


def _widened(known: Range, array: Array, activation: Activation, source: Path) -> Range:
    low, high = float(array.min()), float(array.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise ModelError(
            f"{source}: {activation.name} is not finite on an example.",
            remedy="Look for NaN in the example and in the weights.",
        )
    return min(known[0], low), max(known[1], high)
