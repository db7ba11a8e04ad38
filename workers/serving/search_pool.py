"""Further processes that search for one server, so that its queries use more than one core.

The server alone speaks HTTP, writes, and counts: keys, jobs, sessions, limits and figures are one
set. A process opens the same folder for reading and answers queries, each within a request of the
server. Files of the index and of the weights are mapped, so processes share them.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from threading import Lock, Thread
from time import monotonic

from encoder.errors import AnymodalError
from encoder.system import children
from search.deadline import Deadline
from search.engine import SearchEngine
from search.query.query import Query
from search.types import SearchResult
from workers.config import Settings
from workers.serving.engines import Observe
from workers.serving.search_messages import Opened, Opening, Outcome, Task

logger = logging.getLogger(__name__)

_BUSY = 2
"""With so many queries under way in each process, the next one is started."""
_REST_S = 600.0
_AGAIN_S = 10.0
"""After one that did not start, or crashed."""
_LOOK_S = 0.2
"""How often to look whether anybody still waits for an answer."""
_END_S = 5.0


class SearchPool:
    """Answers queries in this process, and in up to ``n_more`` others while it is busy.

    A process is started when those that run are busy, and ends when it was not needed for ten
    minutes. If it ends early, or cannot take a query, this process answers. Safe to use from
    threads.

    Args:
        engine: of this process; closed with the pool.
        settings: by which the others open the same store.
        model: what they have to find there.
        n_more: the most others.
        observe: called with the modality and the size of each batch that another process encodes.

    Attributes:
        n_more: as above.
        n_cached, n_encoded: queries whose embeddings the others had, and had not.
    """

    def __init__(
        self,
        engine: SearchEngine,
        settings: Settings,
        model: str,
        n_more: int,
        observe: Observe,
    ) -> None:
        self._engine = engine
        log_level = logging.getLevelName(logging.getLogger().level)
        self._opening = Opening(settings, log_level, _REST_S)
        self._model = model
        self._observe = observe
        self.n_more = n_more
        self.n_cached = self.n_encoded = 0
        self._lock = Lock()
        self._n_here = 0
        self._others: list[_Other] = []
        self._is_starting = False
        self._next_start_s = 0.0
        self._is_closed = False

    def search(self, query: Query, deadline: Deadline) -> SearchResult:
        """See `search.engine.SearchEngine.search`."""
        if other := self._choose(query):
            try:
                result = other.search(query, deadline)
            finally:
                with self._lock:
                    other.n_running -= 1
            if result is not None:
                return result
            with self._lock:
                self._n_here += 1
        try:
            return self._engine.search(query, deadline)
        finally:
            with self._lock:
                self._n_here -= 1

    def close(self) -> None:
        """End the others, and the threads of the engine."""
        with self._lock:
            self._is_closed = True
            processes, self._others = self._others, []
        for other in processes:
            other.end()
        self._engine.close()

    def _choose(self, query: Query) -> _Other | None:
        """Which of the others answers; None for this process. It counts as running there."""
        with self._lock:
            other = min(self._others, key=lambda other: other.n_running, default=None)
            if other and self._n_here and other.n_running <= self._n_here and not query.rerank:
                other.n_running += 1
            else:
                other = None
                self._n_here += 1
            if self._is_needed():
                self._is_starting = True
                Thread(target=self._start, name="search process", daemon=True).start()
            return other

    def _is_needed(self) -> bool:
        """Whether one more process is to be started now."""
        if self._is_starting or self._is_closed or len(self._others) >= self.n_more:
            return False
        n_running = [self._n_here, *(other.n_running for other in self._others)]
        return min(n_running) >= _BUSY and monotonic() >= self._next_start_s

    def _start(self) -> None:
        try:
            other = _Other(self._opening, self._model, self._count)
        except (OSError, EOFError) as error:
            logger.warning("a further search process did not start: %s", error)
            with self._lock:
                self._is_starting = False
                self._next_start_s = monotonic() + _AGAIN_S
            return
        with self._lock:
            self._is_starting = False
            self._others.append(other)
            is_late = self._is_closed
        Thread(target=self._follow, args=(other,), name="search results", daemon=True).start()
        if is_late:
            other.end()

    def _count(self, outcome: Outcome) -> None:
        with self._lock:
            self.n_cached += outcome.n_cached
            self.n_encoded += outcome.n_encoded
        for modality, n_items in outcome.batches:
            self._observe(modality, n_items)

    def _follow(self, other: _Other) -> None:
        other.receive()
        exit_code = other.end()
        with self._lock:
            if other in self._others:
                self._others.remove(other)
            if exit_code:
                self._next_start_s = monotonic() + _AGAIN_S


class _Other:
    """A search process, seen from the server.

    Raises:
        OSError, EOFError: it does not start, or finds another model.
    """

    def __init__(
        self, opening: Opening, model: str, count_outcome: Callable[[Outcome], None]
    ) -> None:
        self._count_outcome = count_outcome
        self._numbers = count()
        self._sending = Lock()
        self._results: dict[int, Future[SearchResult | AnymodalError | None]] = {}
        self.n_running = 0
        self._own_end, their_end = socket.socketpair()
        with their_end:
            self._process = subprocess.Popen(
                children.python("workers.serving.search_process", their_end.fileno()),
                stdin=subprocess.DEVNULL,
                pass_fds=(their_end.fileno(),),
                env=children.environment(),
                start_new_session=True,  # Ctrl-C is for the server
            )
        self._connection = Connection(os.dup(self._own_end.fileno()))
        try:
            self._connection.send(opening)
            opened: Opened = self._connection.recv()
        except (OSError, EOFError):
            raise EOFError(f"it exited with {self.end()}, see above") from None
        if opened.model != model:
            self.end()
            raise EOFError(f"it found the model {opened.model} instead of {model}")

    def search(self, query: Query, deadline: Deadline) -> SearchResult | None:
        """The result; None if this process cannot give one.

        Raises:
            AnymodalError: see `search.engine.SearchEngine.search`.
        """
        number = next(self._numbers)
        awaited = self._results[number] = Future()
        try:
            self._send(Task(number, query, deadline.left_s()))
            while True:
                with suppress(TimeoutError):
                    result = awaited.result(_LOOK_S)
                    break
                deadline.check()
        except AnymodalError:
            with suppress(OSError):
                self._send(Task(number, None))
            raise
        # It has ended; or the query holds something of a plug-in that cannot be sent.
        except (OSError, EOFError, pickle.PicklingError, TypeError, AttributeError):
            return None
        finally:
            del self._results[number]
        if isinstance(result, AnymodalError):
            raise result
        return result

    def receive(self) -> None:
        """Hand on results until the process ends."""
        with suppress(EOFError, OSError):
            while True:
                outcome: Outcome = self._connection.recv()
                self._count_outcome(outcome)
                if awaited := self._results.get(outcome.number):
                    awaited.set_result(outcome.result)
        for awaited in list(self._results.values()):
            if not awaited.done():
                awaited.set_exception(EOFError())

    def end(self) -> int:
        """End it, and return its exit code; tasks under way get no result. May be called twice."""
        with suppress(OSError):
            self._own_end.shutdown(socket.SHUT_RDWR)  # also ends `receive`
        self._own_end.close()
        try:
            return self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _send(self, task: Task) -> None:
        with self._sending:
            self._connection.send(task)
