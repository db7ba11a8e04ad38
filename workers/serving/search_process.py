"""The program of a process that searches for a server: ``python -m … FD``."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from threading import Lock

from encoder.errors import AnymodalError
from encoder.system.stopping import stopped_by
from encoder.types import Modality
from search.api.bounded_threads import processor_limit_s
from search.deadline import Budget
from search.engine import SearchEngine
from search.query.query import Query
from search.query.query_encoder import QueryEncoder
from search.types import SearchResult
from workers.config import Settings
from workers.observe import logs
from workers.serving.engines import frozen, open_engine, warm_up_texts
from workers.serving.resources import Resources
from workers.serving.search_messages import Opened, Opening, Outcome, Task

logger = logging.getLogger(__name__)


class SearchProcess:
    """Answers the tasks of a server in threads.

    Args:
        connection: to the server.
        settings: the server's.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings
        self._lock = Lock()
        self._budgets: dict[int, Budget] = {}
        self._batches: list[tuple[Modality, int]] = []
        self._n_cached = self._n_encoded = 0

    def run(self, rest_s: float) -> None:
        """Answer until the server is gone, or has sent nothing for ``rest_s`` seconds."""
        config = self._settings.api
        cpu_s = processor_limit_s(config.timeout_s)
        with closing(Resources(self._settings, counted=False)) as resources:
            store = resources.existing_store()
            model = resources.encoder()
            warm_up_texts(model)
            engine, encoder = open_engine(model, store, config, self._observe)
            with closing(engine), frozen(), ThreadPoolExecutor(config.threads) as threads:
                try:
                    self._connection.send(Opened(model.model))
                    while self._connection.poll(rest_s):
                        task: Task = self._connection.recv()
                        if task.query is None:
                            self._cancel(task.number)
                        else:
                            left_s = task.left_s or config.timeout_s
                            self._budgets[task.number] = Budget(left_s, cpu_s)
                            threads.submit(self._answer, task.number, task.query, engine, encoder)
                except (EOFError, ConnectionError):  # nobody waits for answers any more
                    for number in list(self._budgets):
                        self._cancel(number)

    def _observe(self, modality: Modality, n_items: int) -> None:
        with self._lock:
            self._batches.append((modality, n_items))

    def _cancel(self, number: int) -> None:
        if budget := self._budgets.get(number):
            budget.cancel()

    def _answer(
        self, number: int, query: Query, engine: SearchEngine, encoder: QueryEncoder
    ) -> None:
        budget = self._budgets[number]
        result: SearchResult | AnymodalError | None = None
        try:
            with stopped_by(budget.check), budget.counted():
                result = engine.search(query, budget)
        except AnymodalError as error:
            result = error
        except Exception:
            logger.exception("a search failed")
        del self._budgets[number]
        with self._lock, suppress(OSError):  # the server has gone
            self._connection.send(self._outcome(number, result, encoder))

    def _outcome(
        self, number: int, result: SearchResult | AnymodalError | None, encoder: QueryEncoder
    ) -> Outcome:
        batches, self._batches = self._batches, []
        n_cached, n_encoded = encoder.cache.hits, encoder.cache.misses
        outcome = Outcome(
            number, result, batches, n_cached - self._n_cached, n_encoded - self._n_encoded
        )
        self._n_cached, self._n_encoded = n_cached, n_encoded
        return outcome


def main() -> None:
    """Search for the server at the other end of the socket with this number."""
    with Connection(int(sys.argv[1])) as connection:
        opening: Opening = connection.recv()
        settings = opening.settings
        logs.set_up(settings.log_format, opening.log_level, [settings.broker, settings.store or ""])
        SearchProcess(connection, settings).run(opening.rest_s)


if __name__ == "__main__":
    main()
