"""Fit a token gate to a model's text network; the gate of a model without one is remembered."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING

from encoder.dsre.fitting.calibrate import calibrate
from encoder.dsre.gatefile import GateFile
from encoder.errors import InputError, ModelError
from encoder.models.artifacts import FLOAT32
from encoder.models.sources import locate
from encoder.prepare.gates.subjects import GateSubject, Run, Runs, open_subject
from encoder.system.cache import cache_folder, make_once
from encoder.system.extras import require

if TYPE_CHECKING:
    from torch import nn

    from encoder.dsre.fitting.documents import Document
    from encoder.dsre.fitting.tuning import TrainingPlan
    from encoder.dsre.settings import Preset
    from encoder.models.spec import ModelSpec
    from encoder.types import Embeddings


_DEEP = 10
"""From this many layers on, thresholds are those measured on twelve; below, those on six."""


def calibrate_text(
    model: str,
    documents: Iterable[Document],
    *,
    max_loss: float = 0.003,
    report: Callable[[str], None] | None = None,
) -> GateFile:
    """Fit a gate to a model's text tower; see `encoder.dsre.fitting.calibrate.calibrate`.

    Its shortest length is then raised to where it pays.

    Args:
        model: a bundle, or a sentence encoder, ``hf:org/name@revision`` or ``dir:path``.

    Raises:
        ModelError: the model takes no gate, or every gate loses too much, or it never saves
            time.
        InputError: too few documents.
    """
    require("Fitting a gate", "torch")

    documents = list(documents)
    on = open_subject(model)
    gate = calibrate(
        on.dense, on.tokenize, documents, max_loss=max_loss, pooling=on.pooling,
        preset=_preset(on.dense), report=report,
    )  # fmt: skip
    return _raised(gate, on, documents, report)


def distill_text(
    model: str,
    documents: Iterable[Document],
    *,
    plan: TrainingPlan,
    further_texts: Sequence[str] = (),
    start: GateFile | None = None,
    anchors: Embeddings | None = None,
    max_loss: float = 0.003,
    max_tokens: int | None = None,
    report: Callable[[str], None] | None = None,
) -> GateFile:
    """Train a gate for a model's text tower; see `encoder.dsre.fitting.distill.distill`.

    Args:
        model: see `calibrate_text`.
        further_texts: other texts to train with.
        anchors: unit rows [n, hidden_dim] of what could be asked for the texts, embedded as
            queries; None for the titles of those that train.
        max_tokens: where a bundle's texts are cut; None for its window.

    Raises:
        ModelError: the model takes no gate, ``start`` does not fit it or the plan's rank, or the
            gate loses too much.
        InputError: too few documents, or ``anchors`` of another shape.
    """
    require("Training a gate", "torch")
    from encoder.dsre.fitting.distill import distill

    documents = list(documents)
    on = open_subject(model, max_tokens)
    gate = distill(
        on.dense, on.tokenize, documents, plan=plan, more=on.tokenize(further_texts), start=start,
        anchors=anchors, max_loss=max_loss, pooling=on.pooling, report=report,
    )  # fmt: skip
    return _raised(gate, on, documents, report)


def _raised(
    gate: GateFile,
    on: GateSubject,
    documents: Sequence[Document],
    report: Callable[[str], None] | None,
) -> GateFile:
    """The gate, used from the length at which it pays."""
    bodies = on.tokenize([document.body for document in documents])
    return raise_to_break_even(gate, on.runs, bodies, report=report)


def _preset(dense: nn.Module) -> Preset:
    """The thresholds to begin with: tokens look alike earlier in deep networks."""
    from encoder.dsre.adapters import blocks_of

    return "I1" if blocks_of(dense).shape.n_layers < _DEEP else "J1"


_STEP = 32
_N_TEXTS, _N_ROUNDS = 4, 9


def raise_to_break_even(
    gate: GateFile,
    runs: Runs,
    texts: Sequence[Sequence[int]],
    *,
    report: Callable[[str], None] | None = None,
) -> GateFile:
    """Raise a gate's shortest length to where it no longer costs time.

    It is never lowered, since the gate was not judged on shorter texts.

    Args:
        gate: fitted to the network.
        runs: opens what is timed, on one thread.
        texts: token ids; the longest ones are timed, cut to each length.
        report: called with the times, in one line.

    Returns:
        The gate with ``min_tokens``, and in its facts ``break_even``: dense time over sparse time
        by length.

    Raises:
        InputError: all texts are too short to be timed.
        ModelError: the gate does not pay at any length of these texts.
    """
    longest = sorted(texts, key=len)[-_N_TEXTS:]
    lengths = range(gate.settings.min_tokens, len(longest[0]) + 1 if longest else 0, _STEP)
    if not lengths:
        expected = f"{_N_TEXTS} with {gate.settings.min_tokens} tokens or more"
        raise InputError("texts", got=f"{len(texts)} texts, too short", wanted=expected)
    with runs(gate) as (dense, sparse):
        speedups = {n: _speedup(dense, sparse, [ids[:n] for ids in longest]) for n in lengths}
    summary = ", ".join(f"{length}: {speedup:.2f}" for length, speedup in speedups.items())
    if report:
        report(f"Dense time over sparse time, by tokens: {summary}")
    facts = {**gate.facts, "break_even": {str(n): round(x, 3) for n, x in speedups.items()}}
    settings = replace(gate.settings, min_tokens=break_even(speedups))
    return replace(gate, settings=settings, facts=facts)


def break_even(speedups: Mapping[int, float]) -> int:
    """The shortest length from which nothing is slower.

    Args:
        speedups: dense time over sparse time, by length.

    Raises:
        ModelError: the longest is slower.

    >>> break_even({128: 0.97, 160: 1.1, 192: 1.2})
    160
    """
    shortest = None
    for length in sorted(speedups, reverse=True):
        if speedups[length] < 1.0:
            break
        shortest = length
    if shortest is None:
        raise ModelError(
            f"This gate costs more time than it saves at all lengths up to {max(speedups)} tokens.",
            remedy="Allow it to merge more with a greater --max-loss, or run dense.",
        )
    return shortest


def _speedup(dense: Run, sparse: Run, texts: Sequence[Sequence[int]]) -> float:
    """The median over rounds in which both run all texts, after a first one to warm up."""
    ratios = [_seconds(dense, texts) / _seconds(sparse, texts) for _ in range(_N_ROUNDS + 1)]
    return median(ratios[1:])


def _seconds(run: Run, texts: Sequence[Sequence[int]]) -> float:
    start = process_time()
    for ids in texts:
        run(ids)
    return process_time() - start


_RECIPE = 1
"""Raise it when fitting gives a different gate for the same weights."""

_log = logging.getLogger(__name__)


def remembered(spec: ModelSpec, precision: str = FLOAT32) -> Path:
    """Where the gate of a model is or will be stored.

    Args:
        spec: a hub model or a folder.
        precision: in which it was timed, which decides the length from which it merges.

    Raises:
        ModelError: the model is not found or not reachable.
    """
    facts = [locate(spec).identity, str(_RECIPE), *([precision] if precision != FLOAT32 else [])]
    digits = hashlib.sha256(" ".join(facts).encode()).hexdigest()[:16]
    return cache_folder("gates") / f"{digits}.npz"


def own_gate(spec: ModelSpec, documents: Sequence[Document] | None = None) -> GateFile:
    """Take the gate that was fitted to a model on this machine; fit it if there is none.

    That takes as long as encoding a thousand texts. The file is in ``gates`` of the machine's
    cache; copy it to give other machines the same vectors.

    Raises:
        ModelError: the model takes no gate, or every gate loses too much, or none saves time.
        InputError: its window is too short for the texts to have 128 tokens.
    """
    return GateFile.load(make_once(remembered(spec), lambda path: _fit(spec, documents).save(path)))


def _fit(spec: ModelSpec, documents: Sequence[Document] | None) -> GateFile:
    from encoder.dsre.fitting.documents import sample_documents

    def tell(line: str) -> None:
        _log.info("fitting a gate to %s: %s", spec, line)

    tell("a few minutes, once")
    chosen = sample_documents() if documents is None else documents
    return calibrate_text(str(spec), chosen, report=tell)
