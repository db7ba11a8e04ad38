"""Signals that only wake a thread.

A handler of Python runs in the main thread between two of its steps: inside a block that holds a
lock, which the handler must then not take, or long after a network has run. The kernel's handler
writes to a pipe at once, and a thread may do anything.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from threading import Thread


def on_signals(call: Callable[[int], None], *numbers: signal.Signals) -> None:
    """Call a function in a thread for each of these signals; for the main thread.

    Those of an earlier call do nothing from then on.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    Thread(target=_follow, args=(reading, call, set(numbers)), name="signals", daemon=True).start()
    for number in numbers:
        signal.signal(number, ignored)
    former = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    if former >= 0:
        os.close(former)  # ends its thread


def ignored(_number: int, _frame: object) -> None:
    """A handler for which the system's own is enough; a child has the default again."""


def _follow(pipe: int, call: Callable[[int], None], numbers: set[signal.Signals]) -> None:
    with open(pipe, "rb", buffering=0) as waking:
        while woken := waking.read(1):
            if woken[0] in numbers:
                call(woken[0])
