"""Whether a connection makes progress; no I/O.

Only waiting for the client is timed. While it is the server's turn, as in a long search or between
two events of a job, a connection may be silent.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """What a connection waits for."""

    HEAD = "the head of a request"
    BODY = "more of a body, for which the application waits"
    REST = "the rest of a body that was answered already"
    WRITE = "the client, which is to take what was written"
    WORK = "the server"
    IDLE = "the next request, or nothing any more"


@dataclass(frozen=True)
class PaceLimits:
    """How slow a client may be: a time for heads, a rate for bodies, as in Apache's mod_reqtimeout.

    Args:
        head_s: the longest that a request's head may take.
        body_s: the seconds over which the rate of a body is measured.
        write_s: the seconds over which the rate of an answer is measured.
        bytes_per_s: the lowest rate of either.
    """

    head_s: float
    body_s: float
    write_s: float
    bytes_per_s: int


class Pace:
    """Follows one connection by samples."""

    def __init__(self, limits: PaceLimits) -> None:
        self._limits = limits
        self._turn: Hashable = None
        self._since_s = 0.0
        self._n_bytes = 0

    def is_too_slow(self, phase: Phase, turn: Hashable, n_bytes: int, now_s: float) -> bool:
        """Take a sample.

        Args:
            phase: what it waits for now.
            turn: changes whenever something new begins; the clock then starts again.
            n_bytes: how many bytes have moved so far.
            now_s: the time.
        """
        if (phase, turn) != self._turn:
            self._turn = phase, turn
            self._begin(n_bytes, now_s)
            return False
        passed_s = now_s - self._since_s
        if phase is Phase.HEAD:
            return passed_s >= self._limits.head_s
        if phase is Phase.REST:
            return passed_s >= self._limits.body_s
        window_s = self._window_s(phase)
        if window_s is None or passed_s < window_s:
            return False
        is_slow = n_bytes - self._n_bytes < self._limits.bytes_per_s * passed_s
        self._begin(n_bytes, now_s)
        return is_slow

    def _begin(self, n_bytes: int, now_s: float) -> None:
        self._n_bytes, self._since_s = n_bytes, now_s

    def _window_s(self, phase: Phase) -> float | None:
        return {Phase.BODY: self._limits.body_s, Phase.WRITE: self._limits.write_s}.get(phase)
