"""Merge tokens in any encoder's graph: the one pass for texts, whatever made the graph.

A layer is found by its attention: the sum of what it gives and what it read is where tokens merge,
before the feed-forward. From there on the network runs on fewer tokens. What it read from outside
is one of five things, told apart by the axes that are as long as the text:

- a row for each token, or for each pair, such as angles of rotary positions, a bias by distance, a
  window: those of the tokens that are left; a token into which others merge keeps its place;
- what is known of each token by its id, such as an embedding that a layer adds: the mean of those
  that were merged, as for states;
- the mask that a pooling weighs with: sizes instead, for a mean, or which tokens are real;
- a shape: computed again from the tokens that are left;
- anything else: unchanged.

Attention then weighs a token of size s like s tokens (Bolya et al. 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoder.dsre.cost import Shape
from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.onnx.merge_tokens import MergeStep, floor_of, log_of_sizes, protection_of
from encoder.onnx.network import OnnxNetwork
from encoder.onnx.structure import Sides, named_sides, reads

if TYPE_CHECKING:
    from onnx import NodeProto

THRESHOLDS = "thresholds"
"""The input that may replace a graph's own thresholds, float32 [n_layers]. Only those of layers
that merge count."""

_FLOAT = 1
_LOWEST = -1e30
"""A logit that has no weight, and stays finite when another logit is added."""
_NORMS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
_MASKS = ("attention_mask", "mask")


def merge_texts(
    source: Path, target: Path, gate: GateFile, *, by_size: bool, later_only: bool = False
) -> None:
    """Rewrite a text encoder so that similar tokens merge; `THRESHOLDS` may be given when it runs.

    Args:
        source: an ``.onnx`` file in float32; takes ``input_ids`` int64 and perhaps a mask, both
            [n, length], and gives one vector for each text.
        target: the file to write; it also gives ``kept`` float32 [n, n_layers], the number of
            tokens after each layer's attention.
        gate: which tokens merge. Its changes of weights must be in ``source``.
        by_size: whether the pooling is a mean, to which a token adds by its size.
        later_only: see `MergeStep`; for causal attention.

    Raises:
        ModelError: the network is not such an encoder, or the gate was made for another one.
    """
    graph, settings = _Pass(source, target), gate.settings
    gate.check_fit(len(graph.layers), len(gate.rarity))
    network, sizes = graph.network, graph.sizes()
    rarity = protection_of(network, gate.rarity, settings.protection, "input_ids")
    step = MergeStep(network, sizes, network.add("Mul", rarity, sizes), later_only=later_only)
    limits = np.array([threshold or 0.0 for threshold in settings.thresholds], np.float32)
    network.default_input(THRESHOLDS, limits)
    is_gated = [threshold is not None for threshold in settings.thresholds]
    graph.run(step, is_gated, floor_of(network, sizes, settings.floor), by_size=by_size)


def shape_of_encoder(source: Path) -> Shape:
    """The numbers that determine what a token costs; of any feed-forward one of two matrices.

    Raises:
        ModelError: the network is not an encoder in which tokens merge.
    """
    graph = _Pass(source, source.with_suffix(".unused"))
    n_layers, width = len(graph.layers), graph.width
    arrays = [
        graph.network.array(node.input[1])
        for node in graph.network.nodes("MatMul", "Gemm")
        if graph.axes(node.output[0])
    ]
    n_values = sum(array.size for array in arrays if array is not None and array.ndim == 2)
    return Shape(n_layers, width, max(1, (n_values // n_layers - 4 * width**2) // (2 * width)))


class _Pass:
    """One graph on its way to merging."""

    def __init__(self, source: Path, target: Path) -> None:
        self.network = OnnxNetwork(source, target)
        self._name = source.name
        self._sides = named_sides(self.network.proto)
        self._nodes = list(self.network.nodes())
        self._maker = {value: node for node in self._nodes for value in node.output}
        inputs = {value.name: value for value in self.network.proto.graph.input}
        self.mask = next((inputs[name] for name in _MASKS if name in inputs), None)
        self.layers = list(dict.fromkeys(self._cuts()))
        """The values after each layer's attention, where tokens merge."""
        if not self.layers:
            raise self.misfit("no attention was found whose result is added to what it read")
        states = self.sides(self.layers[0])
        if len(states) != 3 or not isinstance(states[2], int):
            raise self.misfit(f"its states are {list(states)}, not [n, length, width]")
        self.token, self.width = states[1], states[2]
        read = (self.sides(name)[1] for name in ("input_ids",) if name in inputs)
        self._lengths = {self.token, *read} - {None}
        for softmax in self.network.nodes("Softmax"):
            heads = self.sides(softmax.input[0])[1:2]
            if isinstance(heads[0], int) and self.token in (heads[0], self.width // heads[0]):
                raise self.misfit(f"{self.token} is its number of tokens, and another length too")
        self._merging = self._downstream(self.layers[0])
        self.masks = dict(self._masks())
        """By the node that adds it to the logits (its id), the value that hides tokens."""

    def misfit(self, why: str) -> ModelError:
        return ModelError(
            f"Tokens cannot merge in {self._name}: {why}.",
            remedy="Set enable_dsre=False to run it dense.",
        )

    def maker(self, value: str) -> NodeProto | None:
        """The node of the source graph that makes a value."""
        return self._maker.get(value)

    def sides(self, value: str) -> Sides:
        """The lengths of a value's axes: numbers, names, or None where they are not known."""
        return self._sides.get(value, ())

    def axes(self, value: str) -> list[int]:
        """The axes with one place for each token."""
        return [axis for axis, side in enumerate(self.sides(value)) if side in self._lengths]

    def sizes(self) -> str:
        """1 for a token and 0 for padding, float32 [n, length]."""
        network = self.network
        if self.mask is not None:
            return network.add("Cast", self.mask.name, to=_FLOAT)
        shape = network.add("Shape", self.layers[0], start=0, end=2)
        return network.add("Expand", network.constant(np.float32(1)), shape)

    def reads_mask(self, value: str) -> bool:
        """Whether a value depends on which tokens are real."""
        return self.mask is not None and self.mask.name in self._upstream([value])

    def is_content(self, value: str) -> bool:
        """Whether a value is a vector for each token that depends on which token it is."""
        is_rows = self.axes(value) == [1] and len(self.sides(value)) == 3
        return is_rows and "input_ids" in self._upstream([value])

    def _cuts(self) -> Iterator[str]:
        """Behind each attention its sum with what it read, and the norm that alone reads that."""
        for softmax in self.network.nodes("Softmax"):
            inner = self._downstream(softmax.output[0])
            outer = self._upstream(softmax.input)
            for node in self._nodes:
                if node.op_type != "Add" or id(node) not in inner:
                    continue
                inside = [id(self._maker.get(value)) in inner for value in node.input]
                other = node.input[inside.index(False)] if sum(inside) == 1 else ""
                if other in outer and other in self._maker:
                    value = node.output[0]
                    while norm := self.network.only_reader(value, *_NORMS):
                        value = norm.output[0]
                    yield value
                    break

    def _masks(self) -> Iterator[tuple[int, str]]:
        for softmax in self.network.nodes("Softmax"):
            added = self.network.maker(softmax.input[0], "Add")
            for value in added.input if added else ():
                is_outside = id(self._maker.get(value)) not in self._merging
                if added and is_outside and len(self.sides(value)) - 1 in self.axes(value):
                    yield id(added), value

    def _downstream(self, value: str) -> set[int]:
        """The nodes that depend on a value, by id."""
        nodes: set[int] = set()
        stack = [value]
        while stack:
            for node in self.network.readers(stack.pop()):
                if id(node) not in nodes:
                    nodes.add(id(node))
                    stack += node.output
        return nodes

    def _upstream(self, values: Iterable[str]) -> set[str]:
        """All values that these depend on, other than by their shapes, and these."""
        reached: set[str] = set()
        stack = list(values)
        while stack:
            value = stack.pop()
            if value not in reached:
                reached.add(value)
                maker = self._maker.get(value)
                stack += reads(maker) if maker is not None and maker.op_type != "Shape" else ()
        return reached

    def run(
        self,
        step: MergeStep,
        is_gated: Sequence[bool],
        floor: str,
        *,
        by_size: bool,
    ) -> None:
        """Merge after each layer that is gated, down to a floor, and save."""
        network = self.network
        tail = self._downstream(self.layers[-1])
        cut_of: dict[int, _Cut] = {}
        counts = []
        for layer, value in enumerate(self.layers):
            below = self._downstream(value)
            if is_gated[layer]:
                threshold = network.add("Gather", THRESHOLDS, network.constant(np.int64(layer)))
                merged = step.merge(value, self.width, floor, threshold)
                cut = _Cut(self, step, value, merged, by_size=by_size)
                cut_of |= dict.fromkeys(below, cut)
            counts.append(step.count())
        for node in self._nodes:
            if cut_ := cut_of.get(id(node)):
                cut_.rewire(node, cut_of, is_last=id(node) in tail)
        joined = network.add("Concat", *counts, axis=1)
        network.add("Cast", joined, to=_FLOAT, output="kept")
        network.add_output("kept", ("n", len(self.layers)))
        self._forget_lengths()
        network.save(with_shapes=True)

    def _forget_lengths(self) -> None:
        """Keep what is noted of shapes, which passes to come need, without the number of tokens."""
        for value in self.network.proto.graph.value_info:
            if id(self._maker.get(value.name)) in self._merging:
                for side in value.type.tensor_type.shape.dim:
                    if (side.dim_param or side.dim_value) in self._lengths:
                        side.Clear()


class _Cut:
    """What nodes after a merge read instead of what they read before."""

    def __init__(
        self, graph: _Pass, step: MergeStep, states: str, merged: str, *, by_size: bool
    ) -> None:
        self._of, self._network = graph, graph.network
        self._sizes, self._origins, self._merges = step.sizes, step.origins, step.merges
        self._step = step
        self._states, self._merged, self._by_size = states, merged, by_size
        self._recomputed: dict[str, str] = {}
        self._gathered: dict[str, str] = {}

    def rewire(self, node: NodeProto, cut_of: Mapping[int, _Cut], *, is_last: bool) -> None:
        """Let a node between this merge and the next one read what belongs to the tokens left."""
        new: dict[str, str] = {}
        for value in reads(node):
            maker = self._of.maker(value)
            if value == self._states:
                new[value] = self._merged
            elif maker is None or id(maker) not in cut_of:
                new[value] = self._side(value, is_last=is_last)
            elif cut_of[id(maker)] is not self:
                raise self._of.misfit(f"{value} goes past the attention of a layer")
        if mask := self._of.masks.get(id(node)):
            new[mask] = self._network.add("Add", new[mask], self._weights)
        logits = node.input[0]
        if node.op_type == "Softmax" and id(self._of.maker(logits)) not in self._of.masks:
            new[logits] = self._network.add("Add", new.get(logits, logits), self._weights)
        self._network.rewire(node, new)

    @cached_property
    def _weights(self) -> str:
        """What proportional attention adds to logits, [n, 1, 1, length]."""
        row = log_of_sizes(self._network, self._sizes, _LOWEST)
        return self._network.add("Unsqueeze", row, self._network.ints(1, 2))

    def _side(self, value: str, *, is_last: bool) -> str:
        """What takes the place of a value that does not depend on the states."""
        graph = self._of
        if graph.maker(value) is None or (is_last and graph.reads_mask(value)):
            return self._again(value)
        if axes := graph.axes(value):
            if value not in self._gathered:
                is_content = graph.is_content(value)
                rows = self._means(value) if is_content else self._rows(value, axes)
                self._gathered[value] = rows
            return self._gathered[value]
        if graph.reads_mask(value):
            raise graph.misfit(f"{value} tells which tokens are real, in axes that are not known")
        return self._again(value)

    def _means(self, value: str) -> str:
        """The means of a vector for each token, over those that each token left stands for."""
        return self._network.add("MatMul", self._shares, value)

    @cached_property
    def _shares(self) -> str:
        """What each token of the text adds to each that is left, [n, length left, length]."""
        network, weights = self._network, self._of.sizes()
        length = network.add("Shape", weights, start=1, end=2)
        places = self._step.places(self._merges)
        places = network.add("Slice", places, network.ints(0), length, network.ints(1))
        n_left = network.add("Squeeze", network.add("Shape", self._sizes, start=1, end=2))
        zero, one = (network.constant(np.int64(number)) for number in (0, 1))
        n_left_range = network.add(
            "Unsqueeze", network.add("Range", zero, n_left, one), network.ints(1)
        )
        is_part = network.add(
            "Equal", network.add("Unsqueeze", places, network.ints(1)), n_left_range
        )
        sizes = network.add("Max", self._sizes, network.constant(np.float32(1)))
        weights, sizes = (
            network.add("Unsqueeze", values, network.ints(axis))
            for axis, values in ((1, weights), (2, sizes))
        )
        share = network.add("Div", weights, sizes)
        return network.add("Mul", network.add("Cast", is_part, to=_FLOAT), share)

    def _rows(self, value: str, axes: Sequence[int]) -> str:
        """The rows of the tokens that are left, along each of these axes."""
        network, sides = self._network, list(self._of.sides(value))
        if isinstance(sides[0], int) or axes[0] == 0:  # the same for all texts
            if sides[0] != 1:
                value, sides = network.add("Unsqueeze", value, network.ints(0)), [1, *sides]
                axes = [axis + 1 for axis in axes]
            n_rows = network.add("Shape", self._sizes, start=0, end=1)
            ones = network.ints(*[1] * (len(sides) - 1))
            value = network.add("Expand", value, network.add("Concat", n_rows, ones, axis=0))
        places = network.add("Unsqueeze", self._origins, network.ints(2))
        for axis in axes:
            order = [0, axis, *(i for i in range(1, len(sides)) if i != axis)]
            by_token = network.add("Transpose", value, perm=order) if axis > 1 else value
            rows = network.add("GatherND", by_token, places, batch_dims=1)
            back = [order.index(i) for i in range(len(order))]
            value = network.add("Transpose", rows, perm=back) if axis > 1 else rows
        return value

    def _again(self, value: str) -> str:
        """A value computed again, from the tokens that are left; itself if they do not matter."""
        if value not in self._recomputed:
            self._recomputed[value] = self._computed(value)
        return self._recomputed[value]

    def _computed(self, value: str) -> str:
        graph, network = self._of, self._network
        node = graph.maker(value)
        if graph.mask is not None and value == graph.mask.name:
            dtype = graph.mask.type.tensor_type.elem_type
            zero = network.constant(np.float32(0))
            is_left = self._sizes if self._by_size else network.add("Greater", self._sizes, zero)
            return network.add("Cast", is_left, to=dtype)
        if node is None:
            return value
        if node.op_type == "Shape" and 1 in graph.axes(node.input[0]):
            like = {2: self._sizes, 3: self._merged}.get(len(graph.sides(node.input[0])))
            if like is None:
                raise graph.misfit(f"{value} is the shape of {node.input[0]}")
            inputs = [like]
        else:
            inputs = [self._again(name) if name else name for name in node.input]
        if inputs == list(node.input):
            return value
        copy = network.node(node.op_type, *inputs, domain=node.domain)
        copy.attribute.extend(node.attribute)
        copy.output[:] = [f"{copy.output[0]}_{i}" for i in range(len(node.output))]
        network.place(copy)
        return str(copy.output[list(node.output).index(value)])
