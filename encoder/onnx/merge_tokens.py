"""Similar tokens become one: the nodes of a merge, for any graph that is built or rewritten.

The matching is ToMe's (Bolya et al. 2023: every second token looks for the most similar one among
the others), with a threshold instead of a fixed number of merges. Inverse document frequency
(Spärck Jones 1972) keeps it from merging rare words. Everything is per row: a text gets the same
tokens in any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.graph import Graph
from encoder.onnx.network import OnnxNetwork

_NEVER = 1e4
"""A protection that no similarity reaches."""

_TINY = 1e-12
_FLOAT, _INT64 = 1, 7
"""ONNX's codes for these types."""


Writer: TypeAlias = Graph | OnnxNetwork
"""What nodes are added to: a graph that is built, or one that is rewritten."""


class MergeStep:
    """Merges tokens after layers, and knows those that are left.

    Args:
        graph: to add to.
        sizes: how many input tokens each stands for, float32 [n, length]; 0 for padding.
        protection: what a similarity must exceed in addition, [n, length]; 0 for padding.
        later_only: a token merges only into a later one, as causal attention requires: through an
            earlier one, the tokens between would see what follows them. The last is not merged.
    """

    def __init__(
        self, graph: Writer, sizes: str, protection: str, *, later_only: bool = False
    ) -> None:
        self._graph, self._later_only = graph, later_only
        self.sizes, self._protection = sizes, protection
        self._zero, self._one = (graph.constant(np.int64(value)) for value in (0, 1))
        self._two, self._none = graph.constant(np.int64(2)), graph.constant(np.float32(0))
        self._pair, self._flat = graph.ints(0, -1, 2), graph.ints(-1)
        self.origins = ""
        """Where each token was among those of the text, int64 [n, length], once any were merged;
        where there is padding, anywhere."""
        self.merges: tuple[tuple[str, str, str], ...] = ()
        """Of each merge the pairs' first places among the tokens left, which odd ones were merged,
        and into which pair's even one."""

    def merge(self, states: str, width: int, floor: str, threshold: str) -> str:
        """Merge each odd token into the most similar even one, where they are similar enough.

        Args:
            states: [n, length, width], of the current tokens.
            width: of a state.
            floor: the least number of tokens that a row keeps, int64 [n].
            threshold: the similarity that a merge must exceed, float32.

        Returns:
            The states of the tokens that are left, padded to the longest row, or one longer, which
            makes it even. A target's state is the mean of the tokens it stands for, its protection
            their largest. Nothing merges into the first token, and the last one (SEP) into nothing.
        """
        graph = self._graph
        if not self.origins:
            states = self._padded_to_even(states)
        self._n_rows = graph.add("Shape", self.sizes, start=0, end=1)
        self._length = graph.add("Shape", self.sizes, start=1, end=2)
        self._half = graph.add("Div", self._length, graph.ints(2))
        self._real = graph.add("Greater", self.sizes, self._none)
        self._position = self._range(self._length)
        best, partner = self._match(states, width)
        return self._combine(states, width, self._choose(best, floor, threshold), partner)

    def count(self) -> str:
        """How many tokens are left, int64 [n, 1]."""
        real = self._graph.add("Greater", self.sizes, self._none)
        counts = self._graph.add("Cast", real, to=_INT64)
        return self._graph.add("ReduceSum", counts, self._graph.ints(1), keepdims=1)

    def places(self, merges: Sequence[tuple[str, str, str]]) -> str:
        """Where each token of the text is after these `merges`, int64 [n, length or one more]."""
        graph, places = self._graph, ""
        for first, merged, partner in merges:
            into = graph.add("GatherElements", first, partner, axis=1)
            behind = graph.add("Where", merged, into, graph.add("Add", first, self._one))
            after = self._join(first, behind)
            places = graph.add("GatherElements", after, places, axis=1) if places else after
        return places

    def _padded_to_even(self, states: str) -> str:
        graph = self._graph
        odd = graph.add("Mod", graph.add("Shape", self.sizes, start=1, end=2), graph.ints(2))
        pads = graph.add("Concat", graph.ints(0, 0, 0), odd, axis=0)
        self.sizes, self._protection = (
            graph.add("Pad", values, pads) for values in (self.sizes, self._protection)
        )
        pads = graph.add("Concat", graph.ints(0, 0, 0, 0), odd, graph.ints(0), axis=0)
        return graph.add("Pad", states, pads)

    def _match(self, states: str, width: int) -> tuple[str, str]:
        """For each odd token the protected similarity to the best even one, and which that is."""
        graph = self._graph
        last = graph.add("Sub", self.count(), self._one)
        never = graph.constant(np.float32(_NEVER))
        takes = graph.add("Greater", self._position, self._zero)
        goes = graph.add("Less", self._position, last)
        if self._later_only:
            takes = graph.add("And", takes, goes)
        as_target, as_source = (
            self._every(
                graph.add("Where", graph.add("And", self._real, may), self._protection, never), odd
            )
            for odd, may in enumerate((takes, goes))
        )
        norms = graph.add("ReduceL2", states, graph.ints(2))
        units = graph.add("Div", states, graph.add("Max", norms, graph.constant(np.float32(_TINY))))
        pairs = graph.add("Reshape", units, graph.ints(0, -1, 2 * width))
        ends = [graph.ints(end) for end in (0, width, 2 * width)]
        targets, sources = (
            graph.add("Slice", pairs, start, end, graph.ints(2)) for start, end in pairwise(ends)
        )
        cosines = graph.add("MatMul", sources, graph.add("Transpose", targets, perm=(0, 2, 1)))
        of_sources = graph.add("Unsqueeze", as_source, graph.ints(2))
        of_targets = graph.add("Unsqueeze", as_target, graph.ints(1))
        scores = graph.add("Sub", cosines, graph.add("Max", of_sources, of_targets))
        if self._later_only:
            positions = self._range(self._half)
            later = graph.add(
                "Greater", positions, graph.add("Unsqueeze", positions, graph.ints(1))
            )
            scores = graph.add("Where", later, scores, graph.constant(np.float32(-_NEVER)))
        best = graph.add("ReduceMax", scores, graph.ints(2), keepdims=0)
        return best, graph.add("ArgMax", scores, axis=2, keepdims=0)

    def _choose(self, best: str, floor: str, threshold: str) -> str:
        """Which odd tokens are merged away, bool [n, length / 2].

        Where the floor allows fewer merges than the threshold, the most similar pairs are merged; a
        tie at the limit is not.
        """
        graph = self._graph
        spare = graph.add("Sub", self.count(), graph.add("Unsqueeze", floor, graph.ints(1)))
        allowed = graph.add("Min", graph.add("Max", spare, self._zero), self._half)
        names = [f"{best}_{name}" for name in ("ranked", "ranks")]
        ranked, _ = graph.add_many("TopK", names, best, self._half, axis=1)
        below = graph.constant(np.float32(-_NEVER))
        ranked = graph.add("Pad", ranked, graph.ints(0, 0, 0, 1), below)
        bar = graph.add("GatherElements", ranked, allowed, axis=1)
        above = graph.add("Greater", best, bar)
        return graph.add("And", above, graph.add("Greater", best, threshold))

    def _combine(self, states: str, width: int, merged: str, partner: str) -> str:
        """Merge the odd tokens that were chosen into their partners, and close the gaps."""
        graph = self._graph
        order, alive = self._survivors(merged, partner)
        taken = graph.add("Cast", merged, to=_FLOAT)
        sizes = self._absorb(self.sizes, taken, partner, "add")
        protection = self._absorb(self._protection, taken, partner, "max")
        first = graph.add("Mul", self._range(self._n_rows), self._length)
        first = graph.add("Unsqueeze", first, graph.ints(1))
        summed = self._sum_states(states, width, merged, partner, first)
        survivors = graph.add("Reshape", graph.add("Add", order, first), self._flat)
        survivors = graph.add("Gather", summed, survivors)
        shape = graph.add("Concat", self._n_rows, graph.ints(-1, width), axis=0)
        survivors = graph.add("Reshape", survivors, shape)
        survivor_sizes = graph.add("GatherElements", sizes, order, axis=1)
        heavy = graph.add("Max", survivor_sizes, graph.constant(np.float32(1)))
        self.sizes = graph.add("Mul", survivor_sizes, alive)
        self._protection = graph.add(
            "Mul", graph.add("GatherElements", protection, order, axis=1), alive
        )
        earlier = self.origins
        self.origins = graph.add("GatherElements", earlier, order, axis=1) if earlier else order
        return graph.add("Div", survivors, graph.add("Unsqueeze", heavy, graph.ints(2)))

    def _sum_states(self, states: str, width: int, merged: str, partner: str, first: str) -> str:
        """Add the merged odd rows of [n * length, width] to their partners' rows."""
        graph = self._graph
        weighted = graph.add("Mul", states, graph.add("Unsqueeze", self.sizes, graph.ints(2)))
        weighted = graph.add("Reshape", weighted, graph.ints(-1, width))
        target = graph.add("Add", first, graph.add("Mul", partner, self._two))
        which = graph.add("NonZero", graph.add("Reshape", merged, self._flat))
        which = graph.add("Squeeze", which, graph.ints(0))
        source = graph.add("Add", graph.add("Mul", which, self._two), self._one)
        rows = graph.add("Gather", weighted, source)
        target = graph.add("Gather", graph.add("Reshape", target, self._flat), which)
        target = graph.add("Unsqueeze", target, self._flat)
        return graph.add("ScatterND", weighted, target, rows, reduction="add")

    def _survivors(self, merged: str, partner: str) -> tuple[str, str]:
        """The old position of each kept token, [n, new length], and which are tokens, float."""
        graph = self._graph
        odd = graph.add("And", self._every(self._real, 1), graph.add("Not", merged))
        evens = graph.add("Cast", self._every(self._real, 0), to=_INT64)
        odds = graph.add("Cast", odd, to=_INT64)
        per_pair = graph.add("Add", evens, odds)
        n_earlier = graph.add("CumSum", per_pair, self._one, exclusive=1)
        self.merges = (*self.merges, (n_earlier, merged, partner))
        n_kept = graph.add("ReduceSum", per_pair, graph.ints(1), keepdims=1)
        greatest = graph.add("Add", graph.add("ReduceMax", n_kept, keepdims=0), self._one)
        new_length = graph.add("Mul", graph.add("Div", greatest, self._two), self._two)
        new_length = graph.add("Reshape", new_length, graph.ints(1))
        behind = graph.add("Add", n_earlier, self._one)
        slot = self._join(graph.add("Mul", n_earlier, evens), graph.add("Mul", behind, odds))
        # dropped tokens write 0 to slot 0, which holds position 0 anyway
        position = graph.add("Mul", self._position, self._join(evens, odds))
        shape = graph.add("Concat", self._n_rows, new_length, axis=0)
        empty = graph.add("Expand", self._zero, shape)
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

    def _range(self, length: str) -> str:
        end = self._graph.add("Squeeze", length)
        return self._graph.add("Range", self._zero, end, self._one)

    def _every(self, values: str, odd: int) -> str:
        """The values of [n, length] at even (0) or odd (1) positions."""
        pairs = self._graph.add("Reshape", values, self._pair)
        return self._graph.add("Gather", pairs, self._one if odd else self._zero, axis=2)

    def _join(self, even: str, odd: str) -> str:
        graph = self._graph
        pairs = [graph.add("Unsqueeze", values, graph.ints(2)) for values in (even, odd)]
        return graph.add("Reshape", graph.add("Concat", *pairs, axis=2), graph.ints(0, -1))


def protection_of(graph: Writer, rarity: NDArray[np.uint8], share: float, ids: str) -> str:
    """How much the rarity of each token counts against merging it, float32 [n, length].

    Args:
        graph: to add to.
        rarity: of each token id, see `encoder.dsre.gatefile.token_rarity`; uint8 [vocab_size].
        share: of the rarest one.
        ids: token ids, int64 [n, length].
    """
    of_tokens = graph.add("Cast", graph.add("Gather", graph.constant(rarity), ids), to=_FLOAT)
    return graph.add("Mul", of_tokens, graph.constant(np.float32(share / 255.0)))


def floor_of(graph: Writer, sizes: str, share: float) -> str:
    """The least number of tokens that each row keeps, a share of them; int64 [n]."""
    n_tokens = graph.add("ReduceSum", sizes, graph.ints(1), keepdims=0)
    least = graph.add("Ceil", graph.add("Mul", n_tokens, graph.constant(np.float32(share))))
    return graph.add("Cast", least, to=_INT64)


def log_of_sizes(graph: Writer, sizes: str, lowest: float) -> str:
    """Proportional attention: the logarithm of sizes [n, length], ``lowest`` for padding."""
    real = graph.add("Greater", sizes, graph.constant(np.float32(0)))
    # a real token's size is at least 1
    logs = graph.add("Log", graph.add("Max", sizes, graph.constant(np.float32(1))))
    return graph.add("Where", real, logs, graph.constant(np.float32(lowest)))
