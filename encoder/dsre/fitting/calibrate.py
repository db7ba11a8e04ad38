"""Fit a gate to a model and to texts, by how much a search loses.

A text's title or first sentence is the query for the rest. The texts are split by a hash of their
words: one part counts how rare each token is, one chooses the shift of the thresholds, one judges
the choice. No text is in two parts, and cosines alone decide nothing: they stay high while the
words that a query needs are merged away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial

from encoder.dsre.fitting.documents import Document, Part, parted
from encoder.dsre.fitting.judge import GateSubject, Judgement, Loss, judge_dense, measure
from encoder.dsre.gatefile import GateFile, token_rarity
from encoder.dsre.settings import GateSettings, Preset, thresholds
from encoder.errors import InputError, ModelError

Report = Callable[[str], None]

_STEP, _MAX_STEPS = 0.05, 3
_MARGIN_PER_LOSS = 5.0
"""How many standard deviations the mean margin may fall for each unit of allowed loss."""

_DEEP = 10
"""From this many layers on, thresholds are those measured on twelve; below, those on six: tokens
look alike earlier in deep networks."""


def silent(line: str) -> None:
    """Discard a report."""
    del line


def calibrate(
    subject: GateSubject,
    documents: Iterable[Document],
    *,
    max_loss: float = 0.003,
    min_tokens: int = 128,
    report: Report | None = None,
) -> GateFile:
    """Fit a gate: rarities, and the boldest shift of a preset's thresholds within ``max_loss``.

    Args:
        subject: what it is fitted to.
        documents: some hundreds with at least ``min_tokens`` tokens, better thousands.
        max_loss: the largest share of nDCG@10 that may be lost, beyond one standard error.
            The mean margin of the right text, which is less noisy, is limited in proportion.
        min_tokens: shorter texts run dense.
        report: called with one line per step.

    Returns:
        The gate; its facts hold the loss of the chosen shift on the texts that it was chosen on,
        and on those that judge it.

    Raises:
        InputError: too few texts, too few long ones, or ``max_loss`` out of range.
        ModelError: no shift keeps the loss within ``max_loss``.
    """
    check_max_loss(max_loss)
    report = report or silent
    parts, shape = parted(documents), subject.shape
    preset: Preset = "I1" if shape.n_layers < _DEEP else "J1"
    bodies = subject.tokenize([document.body for document in parts["rarity"]])
    rarity = token_rarity(bodies, subject.vocab_size)
    start = GateSettings(thresholds(preset, shape.n_layers), min_tokens=min_tokens)
    with subject.judged(GateFile(rarity, start)) as (dense, sparse):

        def attempt(shift: float, judgement: Judgement) -> tuple[Loss, float]:
            gates = thresholds(preset, shape.n_layers, shift=shift)
            loss, saved = measure(sparse, replace(start, thresholds=gates), shape, judgement)
            report(f"shift {shift:+.2f}: {describe(loss)}, {saved:.2f} times fewer FLOPs")
            return loss, saved

        def judge(part: Part) -> Judgement:
            return judge_dense(dense, subject.tokenize, parts[part], min_tokens)

        shift, chosen = _choose(partial(attempt, judgement=judge("choose")), max_loss)
        report("With held-out texts:")
        judged, saved = attempt(shift, judge("judge"))
    facts = {
        "preset": preset, "shift": shift, "max_loss": max_loss, "flops_ratio": round(saved, 3),
        "documents": {name: len(documents_of_part) for name, documents_of_part in parts.items()},
        "chosen": asdict(chosen), "judged": asdict(judged),
    }  # fmt: skip
    settings = replace(start, thresholds=thresholds(preset, shape.n_layers, shift=shift))
    return GateFile(rarity, settings, facts)


def check_max_loss(max_loss: float) -> None:
    """Raise an `InputError` unless it is a share."""
    if not 0.0 < max_loss < 1.0:
        raise InputError("max_loss", got=f"{max_loss:g}", wanted="above 0, below 1")


def _choose(attempt: Callable[[float], tuple[Loss, float]], max_loss: float) -> tuple[float, Loss]:
    """From the preset to bolder shifts while they hold, or to more careful ones until one does."""
    direction = 0.0
    chosen: tuple[float, Loss] | None = None
    for step in range(_MAX_STEPS + 1):
        shift = round(direction * step * _STEP, 6)
        loss, _ = attempt(shift)
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


def describe(loss: Loss) -> str:
    """A loss in one line."""
    return (
        f"nDCG@10 {-loss.ndcg:+.2%} ± {loss.error:.2%} in {loss.n_queries} queries, "
        f"margin {-loss.margin:+.3f} standard deviations"
    )
