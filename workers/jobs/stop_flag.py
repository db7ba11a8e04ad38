"""One byte that a worker's main process shares with its children: whether to stop."""

from __future__ import annotations

import mmap

_flag = mmap.mmap(-1, 1)  # anonymous and shared: what the parent writes, forked children read


def announce() -> None:
    """Signal the children that the main process was asked to end."""
    _flag[0] = 1


def announced() -> bool:
    """Whether the worker is to stop."""
    return _flag[0] == 1
