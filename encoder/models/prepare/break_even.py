"""The length from which a gate saves time: measured once, when a gate is made.

The answer goes into the gate's file. If it were measured where texts are encoded, one text would
get different vectors on different machines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, TypeAlias

from encoder.dsre.gatefile import GateFile
from encoder.errors import InputError, ModelError

if TYPE_CHECKING:
    from torch import nn

    from encoder.dsre.fitting.judge import Tokenize
    from encoder.dsre.network import Pooling

Run: TypeAlias = Callable[[Sequence[int]], None]
"""Runs a network on the token ids of one text."""
Runs: TypeAlias = Callable[[GateFile], AbstractContextManager[tuple[Run, Run]]]
"""The dense network and the one with the gate, for as long as they are timed."""


@dataclass(frozen=True, eq=False)
class GateSubject:
    """What a gate is fitted to; ``pieces`` gives the words of token ids."""

    dense: nn.Module
    tokenize: Tokenize
    pieces: Callable[[Sequence[int]], list[str]]
    runs: Runs
    pooling: Pooling = "mean"


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
        wanted = f"{_N_TEXTS} with {gate.settings.min_tokens} tokens or more"
        raise InputError("texts", got=f"{len(texts)} texts, too short", wanted=wanted)
    with runs(gate) as (dense, sparse):
        speedups = {n: _speedup(dense, sparse, [one[:n] for one in longest]) for n in lengths}
    told = ", ".join(f"{length}: {speedup:.2f}" for length, speedup in speedups.items())
    if report:
        report(f"Dense time over sparse time, by tokens: {told}")
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
    found = None
    for length in sorted(speedups, reverse=True):
        if speedups[length] < 1.0:
            break
        found = length
    if found is None:
        raise ModelError(
            f"This gate costs more time than it saves at all lengths up to {max(speedups)} tokens.",
            remedy="Allow it to merge more with a greater --max-loss, or run dense.",
        )
    return found


def _speedup(dense: Run, sparse: Run, texts: Sequence[Sequence[int]]) -> float:
    """The median over rounds in which both run all texts, after a first one to warm up."""
    ratios = [_seconds(dense, texts) / _seconds(sparse, texts) for _ in range(_N_ROUNDS + 1)]
    return median(ratios[1:])


def _seconds(run: Run, texts: Sequence[Sequence[int]]) -> float:
    start = process_time()
    for ids in texts:
        run(ids)
    return process_time() - start
