"""Keep what native code prints out of a command's own output."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_output_to_stderr() -> Iterator[None]:
    """Send everything written to standard output to standard error.

    HiGHS (in scipy 1.17) prints a debug line now and then, whatever its options, and a command's
    output must stay JSON. This redirects the whole process, so keep the block short.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        # C's buffers must be flushed before standard output is restored
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
