"""The text tower with a gate: long texts lose tokens from layer to layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.cost import Shape
from encoder.dsre.settings import GateSettings
from encoder.onnx.merge_tokens import FUNCTION
from encoder.runtime.base import Array, Session, run_all
from encoder.runtime.onnx import MAX_RUNS
from encoder.space import l2_normalize
from encoder.towers.base import Prepared
from encoder.towers.encoded import Encoded, TextStats
from encoder.towers.text.tower import TextTower, equal_runs, inputs_of
from encoder.types import Embeddings

if TYPE_CHECKING:
    from encoder.runtime.onnx import ProfiledSession
    from encoder.towers.text.tokens import Tokenizer


@dataclass(frozen=True)
class SparseNetwork:
    """A text network with a gate, for ONNX Runtime; see `encoder.dsre.network.SparseEncoder`.

    Args:
        open: opens it; called for the first long text.
        open_profiled: opens it again, to time the gate.
        settings: of the gate.
        shape: of the network, to count FLOPs.
    """

    open: Callable[[], Session]
    open_profiled: Callable[[], ProfiledSession]
    settings: GateSettings
    shape: Shape


class SparseTextTower(TextTower):
    """Texts to embeddings; short ones run in the dense network, as if there were no gate.

    Args:
        tokenizer: see `TextTower`.
        session: the dense network, see `TextTower`.
        sparse: the network for long texts.
    """

    def __init__(self, tokenizer: Tokenizer, session: Session, sparse: SparseNetwork) -> None:
        super().__init__(tokenizer, session)
        self._network = sparse

    @cached_property
    def _sparse(self) -> Session:
        return self._network.open()

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        if max(map(len, batch)) < self._network.settings.min_tokens:
            return super().forward(batch)
        return self._forward(batch, counted=False)

    def forward_counted(self, batch: Sequence[Prepared]) -> Encoded:
        return self._forward(batch, counted=True)

    def _forward(self, batch: Sequence[Prepared], *, counted: bool) -> Encoded:
        n_tokens = np.array([len(ids) for ids in batch])
        long = n_tokens >= self._network.settings.min_tokens
        shape = self._network.shape
        n_left = np.repeat(n_tokens[:, None], shape.n_layers, 1)
        rows = np.zeros((len(batch), shape.hidden_dim), np.float32)
        gate_ms = np.zeros(len(batch))
        if not long.all():
            rows[~long] = super().forward(list(compress(batch, ~long))).rows
        if long.any():
            merged = self._merge(list(compress(batch, long)), timed=counted)
            rows[long], n_left[long], gate_ms[long] = merged
        stats = TextStats.of_gate(self._network.settings, shape, n_tokens, n_left, gate_ms)
        return Encoded(rows, stats if counted else None)

    def _merge(
        self, batch: Sequence[Prepared], *, timed: bool
    ) -> tuple[Embeddings, NDArray[np.int64], NDArray[np.float64]]:
        runs = list(equal_runs(batch))
        if timed:
            outputs, gate_ms = self._run_timed(runs)
        else:
            outputs = run_all(self._sparse, [inputs_of(run) for run in runs])
            gate_ms = [0.0] * len(runs)
        pooled, n_left = (np.concatenate(arrays) for arrays in zip(*outputs, strict=True))
        shares = [np.full(len(run), ms / len(run)) for run, ms in zip(runs, gate_ms, strict=True)]
        return l2_normalize(pooled), n_left.astype(np.int64), np.concatenate(shares)

    def _run_timed(
        self, runs: Sequence[Sequence[Prepared]]
    ) -> tuple[list[list[Array]], list[float]]:
        """Run in separate sessions, since a profile is written when its session ends."""

        outputs: list[list[Array]] = []
        gate_ms: list[float] = []
        while len(outputs) < len(runs):
            some = runs[len(outputs) : len(outputs) + MAX_RUNS - 1]
            session = self._network.open_profiled()
            session.run(inputs_of(some[0]))  # the first run is slower
            outputs += [session.run(inputs_of(run)) for run in some]
            gate_ms += session.close(FUNCTION)[1:]
        return outputs, gate_ms
