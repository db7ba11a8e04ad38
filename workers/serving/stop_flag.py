"""One byte that a worker's main process shares with its children: is it to stop?"""

from __future__ import annotations

import mmap

_flag = mmap.mmap(-1, 1)  # anonymous and shared: what the parent writes, forked children read


def announce() -> None:
    """Tell the children, as the main process does when it is asked to end."""
    _flag[0] = 1


def announced() -> bool:
    """Whether the worker is to stop."""
    return _flag[0] == 1
