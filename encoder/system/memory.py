"""Memory that the C allocator keeps after it was freed."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Return freed memory to the system: after something large that does not come again at once.

    glibc keeps it for the next need. It takes a few milliseconds; other C libraries are left alone.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
