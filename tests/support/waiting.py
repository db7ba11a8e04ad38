"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(what: Callable[[], Found], seconds: float = 60, name: str = "it") -> Found:
    """Wait until it is true, and return what it is."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"{name} took longer than {seconds} s"
        time.sleep(0.05)
    return found
