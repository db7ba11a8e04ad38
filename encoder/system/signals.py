"""Signals that only wake a thread.

A handler of Python runs in the main thread between two of its steps: inside a block that holds a
lock, which the handler must then not take, or long after a network has run. A thread may do
anything.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

Handler = Callable[[int, object], None]


def on_signals(
    call: Callable[[int], None], *numbers: signal.Signals, at_once: bool = False
) -> Handler:
    """Call a function in a thread for each of these signals; for the main thread.

    Args:
        call: what the thread runs.
        numbers: the signals.
        at_once: also while the main thread computes, by the kernel's handler. Not with an event
            loop, which sets its own.

    Returns:
        The handler of these signals.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    Thread(target=_follow, args=(reading, call, set(numbers)), name="signals", daemon=True).start()

    def wake(number: int, _frame: object) -> None:
        if not at_once:
            with suppress(BlockingIOError):
                os.write(writing, bytes([number]))

    for number in numbers:
        signal.signal(number, wake)
    if at_once:
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return wake


def _follow(pipe: int, call: Callable[[int], None], numbers: set[signal.Signals]) -> None:
    with open(pipe, "rb", buffering=0) as waking:
        while woken := waking.read(1):
            if woken[0] in numbers:
                call(woken[0])
