"""`encoder.dsre.merge.merge_tokens` as a function of an ONNX file, and what a graph gives to it.

The function's body is inside an ``If``: a batch of short texts skips it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.graph import Graph

if TYPE_CHECKING:
    import onnx

DOMAIN = "anymodal"
FUNCTION = "MergeTokens"
TOKENS = ("states", "sizes", "protection")
"""The fields of the tokens that a call takes and returns, see `encoder.dsre.merge.Tokens`."""

LIMITS = ("floor", "threshold")
ACTIVE = "active"
"""Whether any row may merge: a bool scalar."""

_OPSET = 20
_NEVER = 1e4
_TINY = 1e-12
_FLOAT, _INT64, _BOOL = 1, 7, 9
"""ONNX's codes for these types."""


def merge_function(hidden_dim: int) -> onnx.FunctionProto:
    """The function that nodes of `FUNCTION` call, for states of ``hidden_dim``.

    Its inputs are `TOKENS`, `LIMITS` and `ACTIVE`.
    """
    from onnx import helper

    merged = [f"merged_{name}" for name in TOKENS]
    passed = Graph().body("pass", {f"else_{name}": name for name in TOKENS})
    branches = {"then_branch": _MergeBody(hidden_dim).body(), "else_branch": passed}
    choice = helper.make_node("If", [ACTIVE], merged, **branches)
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_function(
        DOMAIN, FUNCTION, [*TOKENS, *LIMITS, ACTIVE], merged, [choice], opsets
    )


@dataclass(frozen=True, eq=False)
class MergeRule:
    """Which tokens of a text merge, see `encoder.dsre.settings.GateSettings`.

    Args:
        rarity: of each token id, see `encoder.dsre.gatefile.token_rarity`; uint8 [vocab_size].
        thresholds: for each layer; None where nothing merges.
        protection: how much rarity counts against merging.
        floor: the share of a text's tokens that is always kept.
        min_tokens: shorter texts keep all.
    """

    rarity: NDArray[np.uint8]
    thresholds: tuple[float | None, ...]
    protection: float
    floor: float
    min_tokens: int


class MergeStep:
    """Merges tokens after layers, and knows the sizes [n, length] of those that are left.

    Args:
        graph: the graph to add to.
        rule: which tokens merge.
        input_ids: int64 [n, length], of an even length.
        sizes: 1 for a token and 0 for padding, float32 [n, length].
    """

    def __init__(self, graph: Graph, rule: MergeRule, input_ids: str, sizes: str) -> None:
        self._graph, self.rule, self.sizes = graph, rule, sizes
        rarity = graph.add("Gather", graph.constant(rule.rarity), input_ids)
        share = graph.constant(np.float32(rule.protection / 255.0))
        weighted = graph.add("Mul", graph.add("Cast", rarity, to=_FLOAT), share)
        self._protection = graph.add("Mul", weighted, sizes)
        n_tokens = graph.add("ReduceSum", sizes, graph.ints(1), keepdims=0)
        share = graph.add("Mul", n_tokens, graph.constant(np.float32(rule.floor)))
        short = graph.add("Less", n_tokens, graph.constant(np.float32(rule.min_tokens)))
        floor = graph.add("Where", short, n_tokens, graph.add("Ceil", share))
        longer = graph.add("Cast", graph.add("Greater", n_tokens, floor), to=_INT64)
        self._active = graph.add("Cast", graph.add("ReduceMax", longer, keepdims=0), to=_BOOL)
        self._floor = graph.add("Cast", floor, to=_INT64)

    def merge(self, states: str, threshold: float) -> str:
        """Merge tokens whose ``states`` [n, length, hidden_dim] are more alike than this."""
        limits = (self._floor, self._graph.constant(np.float32(threshold)), self._active)
        merged, self.sizes, self._protection = self._graph.add_many(
            FUNCTION, 3, states, self.sizes, self._protection, *limits, domain=DOMAIN
        )
        return merged

    def count(self) -> str:
        """How many tokens are left, float32 [n, 1]."""
        graph = self._graph
        real = graph.add("Greater", self.sizes, graph.constant(np.float32(0)))
        counts = graph.add("Cast", real, to=_FLOAT)
        return graph.add("ReduceSum", counts, graph.ints(1), keepdims=1)


def padded_to_even(graph: Graph, name: str) -> str:
    """Pad [n, length] with one 0 if its length is odd."""
    odd = graph.add("Mod", graph.add("Shape", name, start=1, end=2), graph.ints(2))
    pads = graph.add("Concat", graph.ints(0, 0, 0), odd, axis=0)
    return graph.add("Pad", name, pads)


def log_of_sizes(graph: Graph, sizes: str, lowest: float) -> str:
    """Proportional attention: the logarithm of sizes [n, length], ``lowest`` for padding."""
    real = graph.add("Greater", sizes, graph.constant(np.float32(0)))
    # a real token's size is at least 1
    logs = graph.add("Log", graph.add("Max", sizes, graph.constant(np.float32(1))))
    return graph.add("Where", real, logs, graph.constant(np.float32(lowest)))


class _MergeBody:
    """Builds the body, in the same steps as `encoder.dsre.merge`."""

    def __init__(self, hidden_dim: int) -> None:
        self._dim = hidden_dim
        graph = self._graph = Graph()
        self._zero, self._one = graph.constant(np.int64(0)), graph.constant(np.int64(1))
        self._none = graph.constant(np.float32(0))
        self._pair = graph.ints(0, -1, 2)
        self._n_rows = graph.add("Shape", "states", start=0, end=1)
        self._length = graph.add("Shape", "states", start=1, end=2)
        self._half = graph.add("Div", self._length, graph.ints(2))
        self._real = graph.add("Greater", "sizes", self._none)
        self._position = self._range(self._length)

    def body(self) -> onnx.GraphProto:
        best, partner = self._match()
        merged = self._choose(best)
        states, sizes, protection = self._combine(merged, partner)
        outputs = {"then_states": states, "then_sizes": sizes, "then_protection": protection}
        return self._graph.body("merge", outputs)

    def _match(self) -> tuple[str, str]:
        graph = self._graph
        last = graph.add("Sub", self._count(), self._one)
        never = graph.constant(np.float32(_NEVER))
        first_apart = graph.add("Greater", self._position, self._zero)
        last_apart = graph.add("Less", self._position, last)
        guarded = [
            graph.add("Where", graph.add("And", self._real, apart), "protection", never)
            for apart in (first_apart, last_apart)
        ]
        as_target, as_source = self._every(guarded[0], 0), self._every(guarded[1], 1)
        norms = graph.add("ReduceL2", "states", graph.ints(2))
        units = graph.add(
            "Div", "states", graph.add("Max", norms, graph.constant(np.float32(_TINY)))
        )
        pairs = graph.add("Reshape", units, graph.ints(0, -1, 2 * self._dim))
        targets, sources = graph.add_many("Split", 2, pairs, axis=2, num_outputs=2)
        cosines = graph.add("MatMul", sources, graph.add("Transpose", targets, perm=(0, 2, 1)))
        of_sources = graph.add("Unsqueeze", as_source, graph.ints(2))
        of_targets = graph.add("Unsqueeze", as_target, graph.ints(1))
        scores = graph.add("Sub", cosines, graph.add("Max", of_sources, of_targets))
        best = graph.add("ReduceMax", scores, graph.ints(2), keepdims=0)
        return best, graph.add("ArgMax", scores, axis=2, keepdims=0)

    def _choose(self, best: str) -> str:
        graph = self._graph
        spare = graph.add("Sub", self._count(), graph.add("Unsqueeze", "floor", graph.ints(1)))
        allowed = graph.add("Min", graph.add("Max", spare, self._zero), self._half)
        ranked, _ = graph.add_many("TopK", 2, best, self._half, axis=1)
        below = graph.constant(np.float32(-_NEVER))
        ranked = graph.add("Pad", ranked, graph.ints(0, 0, 0, 1), below)
        bar = graph.add("GatherElements", ranked, allowed, axis=1)
        above = graph.add("Greater", best, bar)
        return graph.add("And", above, graph.add("Greater", best, "threshold"))

    def _combine(self, merged: str, partner: str) -> tuple[str, str, str]:
        graph = self._graph
        order, alive = self._survivors(merged)
        taken = graph.add("Cast", merged, to=_FLOAT)
        sizes = self._absorb("sizes", taken, partner, "add")
        protection = self._absorb("protection", taken, partner, "max")
        first = graph.add("Mul", self._range(self._n_rows), self._length)
        first = graph.add("Unsqueeze", first, graph.ints(1))
        summed = self._sum_states(merged, partner, first)
        survivors = graph.add("Reshape", graph.add("Add", order, first), graph.ints(-1))
        survivors = graph.add("Gather", summed, survivors)
        shape = graph.add("Concat", self._n_rows, graph.ints(-1, self._dim), axis=0)
        survivors = graph.add("Reshape", survivors, shape)
        survivor_sizes = graph.add("GatherElements", sizes, order, axis=1)
        heavy = graph.add("Max", survivor_sizes, graph.constant(np.float32(1)))
        return (
            graph.add("Div", survivors, graph.add("Unsqueeze", heavy, graph.ints(2))),
            graph.add("Mul", survivor_sizes, alive),
            graph.add("Mul", graph.add("GatherElements", protection, order, axis=1), alive),
        )

    def _sum_states(self, merged: str, partner: str, first: str) -> str:
        """Add the merged odd rows of [n * length, d] to their partners' rows."""
        graph, two = self._graph, self._graph.constant(np.int64(2))
        weighted = graph.add("Mul", "states", graph.add("Unsqueeze", "sizes", graph.ints(2)))
        weighted = graph.add("Reshape", weighted, graph.ints(-1, self._dim))
        target = graph.add("Add", first, graph.add("Mul", partner, two))
        flat = graph.ints(-1)
        which = graph.add("NonZero", graph.add("Reshape", merged, flat))
        which = graph.add("Squeeze", which, graph.ints(0))
        source = graph.add("Add", graph.add("Mul", which, two), self._one)
        rows = graph.add("Gather", weighted, source)
        target = graph.add("Gather", graph.add("Reshape", target, flat), which)
        target = graph.add("Unsqueeze", target, flat)
        return graph.add("ScatterND", weighted, target, rows, reduction="add")

    def _survivors(self, merged: str) -> tuple[str, str]:
        """The old position of each kept token, [n, new length], and which are tokens, float."""
        graph, two = self._graph, self._graph.constant(np.int64(2))
        odd = graph.add("And", self._every(self._real, 1), graph.add("Not", merged))
        evens = graph.add("Cast", self._every(self._real, 0), to=_INT64)
        odds = graph.add("Cast", odd, to=_INT64)
        per_pair = graph.add("Add", evens, odds)
        n_earlier = graph.add("CumSum", per_pair, self._one, exclusive=1)
        n_kept = graph.add("ReduceSum", per_pair, graph.ints(1), keepdims=1)
        greatest = graph.add("Add", graph.add("ReduceMax", n_kept, keepdims=0), self._one)
        new_length = graph.add("Mul", graph.add("Div", greatest, two), two)
        new_length = graph.add("Reshape", new_length, graph.ints(1))
        behind = graph.add("Add", n_earlier, self._one)
        slot = self._join(graph.add("Mul", n_earlier, evens), graph.add("Mul", behind, odds))
        # dropped tokens write 0 to slot 0, which holds position 0 anyway
        position = graph.add("Mul", self._position, self._join(evens, odds))
        empty = graph.add("Expand", self._zero, self._shape(new_length))
        order = graph.add("ScatterElements", empty, slot, position, axis=1, reduction="max")
        alive = graph.add("Less", self._range(new_length), n_kept)
        return order, graph.add("Cast", alive, to=_FLOAT)

    def _absorb(self, values: str, taken: str, partner: str, how: str) -> str:
        """Reduce the merged odd values into their partners; [n, length] stays."""
        graph, odd = self._graph, self._every(values, 1)
        absorbed = graph.add("Mul", odd, taken)
        even = graph.add(
            "ScatterElements", self._every(values, 0), partner, absorbed, axis=1, reduction=how
        )
        return self._join(even, odd)

    def _count(self) -> str:
        """How many tokens are real, int64 [n, 1]."""
        counts = self._graph.add("Cast", self._real, to=_INT64)
        return self._graph.add("ReduceSum", counts, self._graph.ints(1), keepdims=1)

    def _range(self, length: str) -> str:
        end = self._graph.add("Squeeze", length)
        return self._graph.add("Range", self._zero, end, self._one)

    def _shape(self, length: str) -> str:
        return self._graph.add("Concat", self._n_rows, length, axis=0)

    def _every(self, values: str, which: int) -> str:
        """The values of [n, length] at even (0) or odd (1) positions."""
        pairs = self._graph.add("Reshape", values, self._pair)
        return self._graph.add("Gather", pairs, self._one if which else self._zero, axis=2)

    def _join(self, even: str, odd: str) -> str:
        graph = self._graph
        pairs = [graph.add("Unsqueeze", values, graph.ints(2)) for values in (even, odd)]
        return graph.add("Reshape", graph.add("Concat", *pairs, axis=2), graph.ints(0, -1))
