"""Distill a gate: bold thresholds, and weight changes that make up for them.

The texts are split as in `fitting.calibrate`: one part trains the changes and counts how
rare each token is, one chooses the step to stop at, one judges. No text is in two parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.dsre.adapters import blocks_of
from encoder.dsre.deltas import Deltas
from encoder.dsre.fitting.calibrate import Report, check_max_loss, describe, holds, silent
from encoder.dsre.fitting.documents import Document, Part, parted
from encoder.dsre.fitting.judge import Judgement, Loss, Tokenize, embed_dense, judge_dense, measure
from encoder.dsre.fitting.tuning import Student, TrainingPlan, batches
from encoder.dsre.gatefile import GateFile, token_rarity
from encoder.dsre.settings import GateSettings
from encoder.errors import InputError, ModelError
from encoder.types import Embeddings

if TYPE_CHECKING:
    from torch import nn

    from encoder.dsre.network import Pooling, SparseEncoder

BOLD = (0.7, 0.65, 0.6, 0.55, 0.45, 0.3)
"""Thresholds for 6 layers, including the first: about 1.8 times fewer FLOPs."""

_JUDGING: tuple[Part, Part] = ("judge", "choose")


@dataclass(frozen=True)
class _Try:
    """The changes after some steps, and their loss."""

    step: int
    deltas: Deltas
    loss: Loss
    saved: float


def bold(n_layers: int) -> tuple[float, ...]:
    """`BOLD`, stretched to the depth of a model.

    >>> bold(6) == BOLD
    True
    """
    at = np.linspace(0, len(BOLD) - 1, n_layers)
    return tuple(round(float(value), 6) for value in np.interp(at, np.arange(len(BOLD)), BOLD))


def distill(
    dense: nn.Module,
    tokenize: Tokenize,
    documents: Iterable[Document],
    *,
    plan: TrainingPlan,
    more: Sequence[Sequence[int]] = (),
    start: GateFile | None = None,
    anchors: Embeddings | None = None,
    max_loss: float = 0.003,
    min_tokens: int = 128,
    pooling: Pooling = "mean",
    report: Report | None = None,
) -> GateFile:
    """Train weight changes with merging in the loop.

    Args:
        dense: the network; see `encoder.dsre.network.SparseEncoder`. It stays as it is.
        tokenize: texts to token ids, truncated as when the model is used.
        documents: see `encoder.dsre.fitting.calibrate.calibrate`.
        plan: how to train.
        more: token ids of other texts to train with, none among those that choose or judge.
        start: a gate to go on from: its rarities, settings and changes; else rarities are counted.
        anchors: unit rows [n, hidden_dim] of queries for the texts; None for the texts' titles.
        max_loss: see there.
        min_tokens: shorter texts run dense, in the unchanged network; ``start`` has its own.
        pooling: of the network.
        report: called with one line per step.

    Returns:
        The gate; its facts hold the loss before training, at the chosen step, and as judged.

    Raises:
        InputError: too few texts or long ones, a wrong ``max_loss`` or shape of ``anchors``.
        ModelError: an unknown architecture, a ``start`` that does not fit, or too great a loss.
    """
    check_max_loss(max_loss)
    parts = parted(documents)
    ids = tokenize([document.body for document in parts["rarity"]])
    gate = start or _start(dense, ids, min_tokens, pooling)
    lesson = _Lesson(dense, gate, plan, pooling, report or silent)
    rows = lesson.anchors(anchors, tokenize, parts["rarity"])
    judging, choosing = (judge_dense(lesson.network, tokenize, parts[p]) for p in _JUDGING)
    texts = [
        ids_of_text for ids_of_text in [*ids, *more] if len(ids_of_text) >= gate.settings.min_tokens
    ]
    before, best = lesson.train(texts, rows, choosing)
    _check(best.loss, max_loss)
    sizes = {name: len(documents_of_part) for name, documents_of_part in parts.items()}
    facts: dict[str, Any] = {"max_loss": max_loss, "texts": len(texts), "documents": sizes}
    facts |= {"from": start.identity} if start else {}
    return lesson.finish(before, best, judging, facts)


class _Lesson:
    """A network, the gate to begin with, and the changes that are trained."""

    def __init__(
        self, dense: nn.Module, gate: GateFile, plan: TrainingPlan, pooling: Pooling, report: Report
    ) -> None:
        self._dense, self._plan, self._pooling, self._report = dense, plan, pooling, report
        self._gate = gate
        self.network = self._sparse({})
        self._student = Student(self._sparse({}), plan, gate.deltas)

    def _sparse(self, deltas: Deltas) -> SparseEncoder:
        from encoder.dsre.network import SparseEncoder

        gate = replace(self._gate, deltas=deltas)
        return SparseEncoder(self._dense, gate, pooling=self._pooling).eval()

    def anchors(
        self, anchors: Embeddings | None, tokenize: Tokenize, documents: Sequence[Document]
    ) -> Embeddings:
        """Those given, or else the titles of documents."""
        if anchors is None:
            return embed_dense(self.network, tokenize([document.title for document in documents]))
        width = self.network.blocks.shape.hidden_dim
        if anchors.ndim != 2 or not len(anchors) or anchors.shape[1] != width:
            raise InputError(
                "anchors", got=str(list(anchors.shape)), wanted=f"[n, {width}], n of 1 or more"
            )
        return np.asarray(anchors, np.float32)

    def train(
        self, texts: Sequence[Sequence[int]], anchors: Embeddings, judgement: Judgement
    ) -> tuple[_Try, _Try]:
        """The gate before any step, and the best of those that were judged."""
        import torch

        plan, student = self._plan, self._student
        rows = torch.from_numpy(anchors)
        before = best = self._judge(0, self._gate.deltas, judgement)
        drawn = batches([len(ids) for ids in texts], plan.n_texts, np.random.default_rng(plan.seed))
        for step in range(plan.n_steps):
            some = [texts[i] for i in next(drawn)]
            student.learn(step, some, student.teach(some), rows)
            if (step + 1) % plan.check_every == 0 or step + 1 == plan.n_steps:
                tried = self._judge(step + 1, student.deltas(), judgement)
                best = min(best, tried, key=lambda attempt: attempt.loss.margin)
        return before, best

    def _judge(self, step: int, deltas: Deltas, judgement: Judgement) -> _Try:
        loss, saved = measure(self._sparse(deltas), judgement)
        self._report(f"step {step}: {describe(loss)}, {saved:.2f} times fewer FLOPs")
        return _Try(step, deltas, loss, saved)

    def finish(
        self, before: _Try, best: _Try, judgement: Judgement, facts: Mapping[str, Any]
    ) -> GateFile:
        """The gate, with its loss and saving on texts that nothing was fitted to."""
        loss, saved = measure(self._sparse(best.deltas), judgement)
        summary = f"{describe(loss)}, {saved:.2f} times fewer FLOPs"
        self._report(f"With held-out texts: {summary}")
        facts = {
            "preset": "distilled", "shift": 0.0, "plan": asdict(self._plan), "step": best.step,
            **facts, "before": asdict(before.loss), "chosen": asdict(best.loss),
            "judged": asdict(loss), "flops_ratio": round(saved, 3),
        }  # fmt: skip
        return replace(self._gate, facts=facts, deltas=best.deltas)


def _check(loss: Loss, max_loss: float) -> None:
    if not holds(loss, max_loss):
        raise ModelError(
            f"The distilled gate loses more than {max_loss:.2%}: {describe(loss)}.",
            remedy="Raise --max-loss or --steps, give more texts, or use a calibrated gate.",
        )


def _start(
    dense: nn.Module, ids: Sequence[Sequence[int]], min_tokens: int, pooling: Pooling
) -> GateFile:
    blocks = blocks_of(dense)
    thresholds: tuple[float | None, ...] = bold(blocks.shape.n_layers)
    if pooling == "cls":
        thresholds = (*thresholds[:-1], None)
    settings = GateSettings(thresholds, min_tokens=min_tokens)
    return GateFile(token_rarity(ids, blocks.vocab_size), settings)
