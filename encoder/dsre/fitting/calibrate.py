"""Fit a gate to a model and to texts, by how much a search loses.

A text's title or first sentence is the query for the rest. The texts are split by a hash of their
words: one part counts how rare each token is, one chooses the shift of the thresholds, one judges
the choice. No text is in two parts, and cosines alone decide nothing: they stay high while the
words that a query needs are merged away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from encoder.dsre.fitting.documents import Document, parted
from encoder.dsre.fitting.judge import Judgement, Loss, Tokenize, judge_dense, measure
from encoder.dsre.gatefile import GateFile, token_rarity
from encoder.dsre.settings import GateSettings, Preset, thresholds
from encoder.errors import InputError, ModelError

if TYPE_CHECKING:
    from torch import nn

    from encoder.dsre.network import Pooling, SparseEncoder

Report = Callable[[str], None]

_STEP, _MAX_STEPS = 0.05, 3
_MARGIN_PER_LOSS = 5.0
"""How many standard deviations the mean margin may fall for each unit of allowed loss."""


def silent(line: str) -> None:
    """Discard a report."""
    del line


def calibrate(
    dense: nn.Module,
    tokenize: Tokenize,
    documents: Iterable[Document],
    *,
    max_loss: float = 0.003,
    preset: Preset = "I1",
    min_tokens: int = 128,
    pooling: Pooling = "mean",
    report: Report | None = None,
) -> GateFile:
    """Fit a gate: rarities, and the boldest shift of a preset's thresholds within ``max_loss``.

    Args:
        dense: the network; see `encoder.dsre.network.SparseEncoder`.
        tokenize: texts to token ids, truncated as when the model is used.
        documents: some hundreds with at least ``min_tokens`` tokens, better thousands.
        max_loss: the largest share of nDCG@10 that may be lost, beyond one standard error.
            The mean margin of the right text, which is less noisy, is limited in proportion.
        preset: the thresholds to shift.
        min_tokens: shorter texts run dense.
        pooling: of the network.
        report: called with one line per step.

    Returns:
        The gate; its facts hold the loss of the chosen shift on the texts that it was chosen on,
        and on those that judge it.

    Raises:
        InputError: too few texts, too few long ones, or ``max_loss`` out of range.
        ModelError: an unknown architecture, or no shift keeps the loss within ``max_loss``.
    """
    check_max_loss(max_loss)
    report = report or silent
    parts = parted(documents)
    network = _start(dense, tokenize, parts["rarity"], preset, min_tokens, pooling)
    choosing = judge_dense(network, tokenize, parts["choose"])
    shift, chosen = _choose(network, choosing, preset, max_loss, report)
    judging = judge_dense(network, tokenize, parts["judge"])
    report("With held-out texts:")
    judged, saved = _try(network, preset, shift, judging, report)
    facts = {
        "preset": preset, "shift": shift, "max_loss": max_loss, "flops_ratio": round(saved, 3),
        "documents": {name: len(documents_of_part) for name, documents_of_part in parts.items()},
        "chosen": asdict(chosen), "judged": asdict(judged),
    }  # fmt: skip
    return GateFile(network.rarity.numpy(), network.settings, facts)


def check_max_loss(max_loss: float) -> None:
    """Raise an `InputError` unless it is a share."""
    if not 0.0 < max_loss < 1.0:
        raise InputError("max_loss", got=f"{max_loss:g}", wanted="above 0, below 1")


def _start(
    dense: nn.Module,
    tokenize: Tokenize,
    documents: list[Document],
    preset: Preset,
    min_tokens: int,
    pooling: Pooling,
) -> SparseEncoder:
    from encoder.dsre.adapters import blocks_of
    from encoder.dsre.network import SparseEncoder

    blocks = blocks_of(dense)
    rarity = token_rarity(tokenize([document.body for document in documents]), blocks.vocab_size)
    gates = thresholds(preset, blocks.shape.n_layers)
    gate = GateFile(rarity, GateSettings(gates, min_tokens=min_tokens))
    return SparseEncoder(dense, gate, pooling=pooling).eval()


def _choose(
    network: SparseEncoder, judgement: Judgement, preset: Preset, max_loss: float, report: Report
) -> tuple[float, Loss]:
    """Go from the preset to bolder shifts while they hold, or to more careful ones until one does.

    The gate is left at the last shift that was tried.
    """
    direction = 0.0
    chosen: tuple[float, Loss] | None = None
    for step in range(_MAX_STEPS + 1):
        shift = round(direction * step * _STEP, 6)
        loss, _ = _try(network, preset, shift, judgement, report)
        is_held = holds(loss, max_loss)
        if is_held:
            chosen = shift, loss
        direction = direction or (-1.0 if is_held else 1.0)
        if is_held != (direction < 0):
            break
    if chosen is None:
        raise ModelError(
            f"The most careful gate loses more than {max_loss:.2%}: {describe(loss)}.",
            remedy="Raise --max-loss, give more texts, or run this model dense.",
        )
    return chosen


def holds(loss: Loss, max_loss: float) -> bool:
    """Whether a loss is small enough.

    A few hundred queries measure nDCG to half a percent at best, so only clear cases count.
    """
    clear = loss.ndcg - loss.error > max_loss
    return not clear and loss.margin <= _MARGIN_PER_LOSS * max_loss


def _try(
    network: SparseEncoder, preset: Preset, shift: float, judgement: Judgement, report: Report
) -> tuple[Loss, float]:
    """Set the shift and measure."""
    gates = thresholds(preset, len(network.settings.thresholds), shift=shift)
    network.settings = replace(network.settings, thresholds=gates)
    loss, saved = measure(network, judgement)
    report(f"shift {shift:+.2f}: {describe(loss)}, {saved:.2f} times fewer FLOPs")
    return loss, saved


def describe(loss: Loss) -> str:
    """A loss in one line."""
    return (
        f"nDCG@10 {-loss.ndcg:+.2%} ± {loss.error:.2%} in {loss.n_queries} queries, "
        f"margin {-loss.margin:+.3f} standard deviations"
    )
