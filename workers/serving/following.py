"""A server follows its store to another model, without a request that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING

from encoder.errors import AnymodalError
from search.engine import SearchEngine
from workers.serving.resources import Resources

if TYPE_CHECKING:
    from search.api.services import Services
    from search.store.base import VectorStore

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
_AGAIN_S = 30.0
_MARGIN_S = 5.0

Put = Callable[["Services"], object]
Make = Callable[[Resources, "Services"], "Services"]


@contextmanager
def following(resources: Resources, parts: Services, put: Put, make: Make) -> Iterator[None]:
    """Look for a switch every two seconds until the block ends.

    The new model and its space are opened and warmed up first, then requests get them; requests
    under way finish on the old ones, which are closed after the time limit of a request.
    """
    follower = _Follower(resources, parts, put, make)
    thread = Thread(target=follower.run, name="following", daemon=True)
    if resources.settings.store != "memory:":
        thread.start()
    try:
        yield
    finally:
        follower.ended.set()
        if thread.is_alive():
            thread.join()


class _Follower:
    def __init__(self, resources: Resources, parts: Services, put: Put, make: Make) -> None:
        self._held, self._parts, self._put, self._make = resources, parts, put, make
        self.ended = Event()

    def run(self) -> None:
        """Follow until it is ended."""
        pause_s = LOOK_EVERY_S
        while not self.ended.wait(pause_s):
            pause_s = LOOK_EVERY_S
            try:
                self._look()
            except AnymodalError as error:  # the old space is still there
                logger.error("cannot follow the store to its new model: %s", error)
                pause_s = _AGAIN_S
            except Exception:
                logger.exception("cannot follow the store to its new model")
                pause_s = _AGAIN_S

    def _look(self) -> None:
        current = self._held.current()
        if not current or current.space == self._held.encoder().space.fingerprint:
            return
        other = Resources(self._held.settings)
        former_parts, parts = self._parts, self._make(other, self._parts)
        store = self._held.adopt(other)
        self._put(parts)
        self._parts = parts
        logger.warning("searches now use %s", parts.model)
        self.ended.wait(parts.config.timeout_s + _MARGIN_S)
        self._close(former_parts.engine, store)

    @staticmethod
    def _close(engine: SearchEngine, store: VectorStore | None) -> None:
        engine.close()
        with suppress(AnymodalError):
            if store is not None:
                store.close()
