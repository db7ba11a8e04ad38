"""The text tower of an exported model with a gate: long texts lose tokens from layer to layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from tokenizers import Tokenizer

from encoder.dsre.cost import Shape
from encoder.dsre.settings import GateSettings
from encoder.runtime.base import Array, Session, run_all
from encoder.towers.base import Prepared
from encoder.towers.encoded import Encoded, TextStats
from encoder.towers.exported.text import ExportedTextTower, TextFormat, TextGraph, unit_rows
from encoder.towers.text.windows import Ids

INPUTS = ("pairs", "mask")
"""Token ids int64, and 1 for a token or 0 for padding float32; both [n, length / 2, 2]."""
OUTPUTS = ("vectors", "kept")
"""Vectors [n, embed_dim], and how many tokens are left after each layer, int64 [n, n_layers]."""


@dataclass(frozen=True)
class Merging:
    """A text network with a gate, as a graph.

    Args:
        open: opens it; called for the first long text.
        settings: of the gate.
        shape: of the network, to count FLOPs.
        cls_only: whether the last layer computes only the first token.
    """

    open: Callable[[], Session]
    settings: GateSettings
    shape: Shape
    cls_only: bool = False


class MergingTextTower(ExportedTextTower):
    """Texts; windows below the gate's shortest length run dense, as if there were no gate.

    Args:
        tokenizer: see `ExportedTextTower`.
        graph: the dense network.
        form: see `ExportedTextTower`.
        merging: the network for long windows.
        name: what errors call the model.
    """

    def __init__(
        self, tokenizer: Tokenizer, graph: TextGraph, form: TextFormat, merging: Merging, name: str
    ) -> None:
        super().__init__(tokenizer, graph, form)
        self._merging = merging
        self._name = name

    @cached_property
    def _sparse(self) -> Session:
        return self._merging.open()

    def forward_counted(self, batch: Sequence[Prepared]) -> Encoded:
        """See `encoder.towers.base.CountingTower.forward_counted`; ``gate_ms`` is NaN where a gate
        ran, since no profile separates its operators from the network's."""
        return self._encode(batch)

    def _embed(self, runs: Sequence[Ids]) -> Encoded:
        """The shorter runs come first."""
        least, n_layers = self._merging.settings.min_tokens, self._merging.shape.n_layers
        short = [run for run in runs if run.shape[1] < least]
        long = runs[len(short) :]
        rows = [self._graph.embed(short)] if short else []
        n_left = [np.full((len(run), n_layers), run.shape[1], np.int64) for run in short]
        if long:
            outputs = run_all(self._sparse, [inputs_of(run) for run in long])
            rows.append(unit_rows(self._name, np.concatenate([vectors for vectors, _ in outputs])))
            n_left += [n_left_of_run for _, n_left_of_run in outputs]
        n_tokens = np.concatenate([np.full(len(run), run.shape[1], np.int64) for run in runs])
        merging = self._merging
        gate_ms = np.where(n_tokens < least, 0.0, np.nan)
        stats = TextStats.of_gate(
            merging.settings,
            merging.shape,
            n_tokens,
            np.concatenate(n_left),
            gate_ms,
            cls_only=merging.cls_only,
        )
        return Encoded(np.concatenate(rows), stats)


def inputs_of(ids: Ids) -> Mapping[str, Array]:
    """The graph's inputs for a run of token ids [n, length]."""
    odd = ids.shape[1] % 2
    mask = np.ones(ids.shape, np.float32)
    pairs = (np.pad(array, ((0, 0), (0, odd))).reshape(len(ids), -1, 2) for array in (ids, mask))
    return dict(zip(INPUTS, pairs, strict=True))
