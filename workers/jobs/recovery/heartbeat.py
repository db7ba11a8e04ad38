"""Call something at intervals while a block runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from threading import Event, Thread

logger = logging.getLogger(__name__)


@contextmanager
def repeating(beat: Callable[[], object], every_s: float) -> Iterator[None]:
    """Call ``beat`` every ``every_s`` seconds in a thread until the block ends.

    Exceptions are logged: a short absence of the broker must not end the work.
    """
    ended = Event()

    def run() -> None:
        while not ended.wait(every_s):
            try:
                beat()
            except Exception as error:  # noqa: BLE001 (see above)
                logger.debug("heartbeat failed: %s", error)

    thread = Thread(target=copy_context().run, args=(run,), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
