"""Distill a gate: bold thresholds, and weight changes that make up for them.

The texts are split as in `fitting.calibrate`: one part trains the changes and counts how
rare each token is, one chooses the step to stop at, one judges. No text is in two parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.dsre.adapters import blocks_of
from encoder.dsre.fitting.calibrate import Report, describe, holds, silent
from encoder.dsre.fitting.deltas import Deltas
from encoder.dsre.fitting.documents import Document, parted
from encoder.dsre.fitting.judge import Judgement, Tokenize, embed_dense, judge_dense, measure
from encoder.dsre.fitting.retrieval import Loss
from encoder.dsre.gatefile import GateFile
from encoder.dsre.idf import token_rarity
from encoder.dsre.settings import GateSettings
from encoder.errors import InputError, ModelError
from encoder.types import Embeddings

if TYPE_CHECKING:
    from torch import nn

    from encoder.dsre.fitting.tuning import Plan
    from encoder.dsre.network import Pooling, SparseEncoder

BOLD = (0.7, 0.65, 0.6, 0.55, 0.45, 0.3)
"""Thresholds for 6 layers, including the first: about 1.8 times fewer FLOPs."""


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
    plan: Plan,
    more: Sequence[Sequence[int]] = (),
    max_loss: float = 0.003,
    min_tokens: int = 128,
    pooling: Pooling = "mean",
    report: Report | None = None,
) -> GateFile:
    """Train weight changes with merging in the loop.

    Args:
        dense: the network; see `encoder.dsre.network.SparseEncoder`. It stays as it is.
        tokenize: texts to token ids, truncated as when the model is used.
        documents: some hundreds with at least ``min_tokens`` tokens, better thousands.
        plan: how to train.
        more: token ids of other texts to train with, none of them among ``documents``.
        max_loss: see `encoder.dsre.fitting.calibrate.calibrate`.
        min_tokens: shorter texts run dense, in the unchanged network.
        pooling: of the network.
        report: called with one line per step.

    Returns:
        The gate; its facts hold the loss before training, at the chosen step, and as judged.

    Raises:
        InputError: too few texts, too few long ones, or ``max_loss`` out of range.
        ModelError: an unknown architecture, or a loss above ``max_loss``.
    """
    if not 0.0 < max_loss < 1.0:
        raise InputError("max_loss", got=f"{max_loss:g}", wanted="above 0, below 1")
    parts = parted(documents)
    ids = tokenize([one.body for one in parts["rarity"]])
    network = _start(dense, ids, min_tokens, pooling)
    judging, choosing = (judge_dense(network, tokenize, parts[p]) for p in ("judge", "choose"))
    texts = [one for one in [*ids, *more] if len(one) >= min_tokens]
    anchors = embed_dense(network, tokenize([one.title for one in parts["rarity"]]))
    before, best = _train(dense, network, (texts, anchors), choosing, plan, report or silent)
    _check(best.loss, max_loss)
    gate = _gate(network, best.deltas)
    facts = {
        "preset": "distilled", "shift": 0.0, "plan": asdict(plan), "step": best.step,
        "max_loss": max_loss, "texts": len(texts), "before": asdict(before.loss),
        "chosen": asdict(best.loss), "documents": {name: len(p) for name, p in parts.items()},
        **_judged(_sparse(dense, gate, pooling), judging, report or silent),
    }  # fmt: skip
    return replace(gate, facts=facts)


def _judged(sparse: SparseEncoder, judgement: Judgement, report: Report) -> dict[str, Any]:
    """The loss and the saving on texts that nothing was fitted to."""
    loss, saved = measure(sparse, judgement)
    said = f"{describe(loss)}, {saved:.2f} times fewer FLOPs"
    report(f"With held-out texts: {said}")
    return {"judged": asdict(loss), "flops_ratio": round(saved, 3)}


def _check(loss: Loss, max_loss: float) -> None:
    if not holds(loss, max_loss):
        raise ModelError(
            f"The distilled gate loses more than {max_loss:.2%}: {describe(loss)}.",
            remedy="Raise --max-loss or --steps, give more texts, or use a calibrated gate.",
        )


def _start(
    dense: nn.Module, ids: Sequence[Sequence[int]], min_tokens: int, pooling: Pooling
) -> SparseEncoder:
    blocks = blocks_of(dense)
    thresholds: tuple[float | None, ...] = bold(blocks.shape.n_layers)
    if pooling == "cls":
        thresholds = (*thresholds[:-1], None)
    settings = GateSettings(thresholds, min_tokens=min_tokens)
    gate = GateFile(token_rarity(ids, blocks.vocab_size), settings)
    return _sparse(dense, gate, pooling)


def _sparse(dense: nn.Module, gate: GateFile, pooling: Pooling) -> SparseEncoder:
    from encoder.dsre.network import SparseEncoder

    return SparseEncoder(dense, gate, pooling=pooling).eval()


def _gate(network: SparseEncoder, deltas: Deltas) -> GateFile:
    return GateFile(network.rarity.numpy(), network.settings, deltas=deltas)


def _train(
    dense: nn.Module,
    network: SparseEncoder,
    examples: tuple[Sequence[Sequence[int]], Embeddings],
    judgement: Judgement,
    plan: Plan,
    report: Report,
) -> tuple[_Try, _Try]:
    """The gate before any step, and the best of those that were judged."""
    import torch

    from encoder.dsre.fitting.tuning import Student, batches

    wanted = _gate(network, {})

    def judge(step: int, deltas: Deltas) -> _Try:
        sparse = _sparse(dense, replace(wanted, deltas=deltas), network.pooling)
        loss, saved = measure(sparse, judgement)
        report(f"step {step}: {describe(loss)}, {saved:.2f} times fewer FLOPs")
        return _Try(step, deltas, loss, saved)

    before = best = judge(0, {})
    student = Student(_sparse(dense, wanted, network.pooling), plan)
    texts, anchors = examples[0], torch.from_numpy(examples[1])
    rng = np.random.default_rng(plan.seed)
    drawn = batches([len(ids) for ids in texts], plan.n_texts, rng)
    for step in range(plan.n_steps):
        some = [texts[i] for i in next(drawn)]
        student.learn(step, some, student.teach(some), anchors)
        if (step + 1) % plan.check_every == 0 or step + 1 == plan.n_steps:
            tried = judge(step + 1, student.deltas())
            best = min(best, tried, key=lambda one: one.loss.margin)
    return before, best
