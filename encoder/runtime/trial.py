"""Choose by a short trial which runtime runs a network fastest here, and remember it.

All candidates must compute the same: the trial chooses what runs a network, never its results.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeAlias

import numpy as np

from encoder.errors import ModelError
from encoder.runtime.base import Array, Session
from encoder.system.cache import make_once

ExampleInputs: TypeAlias = Mapping[str, Array]
Factory: TypeAlias = Callable[[], Session]

_log = logging.getLogger(__name__)

MIN_COSINE = 0.995
"""The least cosine, row by row, to the reference's outputs. A runtime that rounds in different
places stays above (OpenVINO reaches .999 on the bundle's pictures); a misread network does not."""

_WORTH = 0.95
"""A candidate must take at most this share of the reference's time: a smaller gain is noise."""

_N_ROUNDS = 7
_MAX_ROUNDS_S = 3.0
_LOCK_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Choice:
    """The fastest candidate, or the reference if none is clearly faster; why others dropped out."""

    name: str
    median_ms: Mapping[str, float] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)


def fastest_session(
    candidates: Mapping[str, Factory],
    examples: Callable[[], Sequence[ExampleInputs]],
    *,
    facts: Mapping[str, str],
    memory: Path,
) -> Session:
    """Open the candidate that is known or measured to be the fastest; the first is the reference.

    Several processes may call this at once: one measures, the others wait for what it finds.
    ``examples`` makes typical inputs, if there is something to measure. ``facts`` are all that the
    choice depends on: the network, the machine, versions, threads. It is kept in ``memory``; where
    that cannot be written, the trial is made each time.

    Raises:
        ModelError: the reference cannot be opened or run.
    """
    reference = next(iter(candidates))
    key = json.dumps([sorted(candidates), sorted(facts.items())])
    path = memory / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"

    def trial() -> Choice:
        return compare(candidates, examples())

    chosen = _measure_once(trial, candidates, facts, path)
    try:
        return candidates[chosen]()
    except ModelError as error:
        if chosen == reference:
            raise
        _log.warning("%s was the fastest but no longer works: %s", chosen, error)
        return candidates[reference]()


def compare(candidates: Mapping[str, Factory], examples: Sequence[ExampleInputs]) -> Choice:
    """Time all candidates in turn, after a warm-up run.

    One that cannot be opened or run, or whose outputs have a cosine below `MIN_COSINE` to
    those of the first, is dropped; the first must run.
    """
    reference, *rivals = candidates
    sessions = {reference: candidates[reference]()}
    expected = [sessions[reference].run(example) for example in examples]
    dropped: dict[str, str] = {}
    for name in rivals:
        try:
            session = candidates[name]()
            least = min(map(least_cosine, expected, [session.run(e) for e in examples]))
        # a third-party runtime may raise anything; it is only one of several
        except Exception as error:  # noqa: BLE001
            dropped[name] = f"{type(error).__name__}: {error}"
            continue
        if least >= MIN_COSINE:
            sessions[name] = session
        else:
            dropped[name] = f"its outputs have a cosine of {least:.8g}, less than {MIN_COSINE}"
    times = _time_in_turns(sessions, examples)
    best = min(times, key=lambda name: times[name])
    is_worth_it = times[best] <= _WORTH * times[reference]
    return Choice(best if is_worth_it else reference, times, dropped)


def least_cosine(a: Sequence[Array], b: Sequence[Array]) -> float:
    """The least cosine between rows of two lists of outputs; 0 if their shapes differ."""
    if [x.shape for x in a] != [x.shape for x in b]:
        return 0.0
    return min((_row_cosine(x, y) for x, y in zip(a, b, strict=True)), default=0.0)


def cpu_model() -> str:
    """The processor's name, as far as the system knows it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def instruction_sets() -> str:
    """The processor's instruction sets, by which runtimes choose their kernels."""
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(("flags", "Features")):
                return line.partition(":")[2].strip()
    return f"{platform.machine()} {platform.processor()}"


def _row_cosine(a: Array, b: Array) -> float:
    if not a.size:
        return 0.0
    x, y = (np.asarray(z, np.float64).reshape(len(z), -1) for z in (a, b))
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    least = float(((x * y).sum(axis=1) / np.maximum(norms, 1e-30)).min())
    return least if np.isfinite(least) else 0.0


def _time_in_turns(
    sessions: Mapping[str, Session], examples: Sequence[ExampleInputs]
) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in sessions}
    started = perf_counter()
    for _ in range(_N_ROUNDS):
        for name, session in sessions.items():
            run_started = perf_counter()
            for example in examples:
                session.run(example)
            times[name].append(perf_counter() - run_started)
        if perf_counter() - started > _MAX_ROUNDS_S:
            break
    return {name: round(median(times_s) * 1e3, 3) for name, times_s in times.items()}


def _measure_once(
    trial: Callable[[], Choice],
    candidates: Mapping[str, Factory],
    facts: Mapping[str, str],
    path: Path,
) -> str:
    """Measure, unless another process has done so by the time it is our turn."""
    from filelock import Timeout

    choice: Choice | None = None

    def write(new: Path) -> None:
        nonlocal choice
        choice = trial()
        new.write_text(json.dumps({**asdict(choice), "facts": dict(facts)}, indent=1), "utf-8")

    try:
        make_once(
            path, write, is_whole=lambda p: _recall(p) in candidates, timeout_s=_LOCK_TIMEOUT_S
        )
    except (OSError, Timeout) as error:
        _log.warning("The choice of a runtime cannot be kept in %s: %s", path, error)
        choice = choice or trial()
    for name, reason in choice.dropped.items() if choice else ():
        _log.info("%s does not run this network: %s", name, reason)
    return choice.name if choice else str(_recall(path))


def _recall(path: Path) -> str | None:
    """The choice in a file; None if it is missing or damaged."""
    try:
        return str(json.loads(path.read_text("utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
