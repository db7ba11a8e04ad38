"""Fit a token gate to a model's text network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from time import process_time

import numpy as np

from encoder.dsre.fitting.calibrate import calibrate
from encoder.dsre.fitting.documents import Document
from encoder.dsre.fitting.judge import GateSubject, Run, Runs
from encoder.dsre.gatefile import GateFile
from encoder.errors import InputError, ModelError
from encoder.prepare.gates.subjects import open_subject


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
    with open_subject(model) as subject:
        return fit(subject, list(documents), max_loss=max_loss, report=report)


def fit(
    subject: GateSubject,
    documents: Sequence[Document],
    *,
    max_loss: float = 0.003,
    report: Callable[[str], None] | None = None,
) -> GateFile:
    """Calibrate a gate, and use it from the length at which it pays; see `calibrate_text`."""
    gate = calibrate(subject, documents, max_loss=max_loss, report=report)
    bodies = subject.tokenize([document.body for document in documents])
    return raise_to_break_even(gate, subject.timed, bodies, report=report)


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
        run(np.asarray([ids], np.int64))
    return process_time() - start
