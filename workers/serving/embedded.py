"""A Celery worker in this process: the same tasks over an in-memory broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from celery.worker import WorkController

from workers.app import app

_HOSTNAME = "embedded@anymodal"
_START_TIMEOUT_S = 30.0


@contextmanager
def embedded_worker(threads: int = 2) -> Iterator[None]:
    """Run a worker with a thread pool until the block ends; running tasks are finished first."""
    ready = Event()

    app.set_default()  # the pool's threads look for it there; else results would go nowhere
    app.loader.import_default_modules()
    app.finalize()
    # `WorkController`, not `celery.apps.worker.Worker`: that one takes over signals and prints.
    worker = WorkController(
        app=app,
        pool="threads",
        concurrency=threads,
        hostname=_HOSTNAME,
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
        loglevel="WARNING",
        ready_callback=lambda _consumer: ready.set(),
    )
    thread = Thread(target=worker.start, name="celery-worker", daemon=True)
    thread.start()
    try:
        if not ready.wait(_START_TIMEOUT_S):
            raise TimeoutError(f"The embedded worker did not start in {_START_TIMEOUT_S:.0f} s.")
        yield
    finally:
        # A message, not `worker.stop()`: it ends the consumer's own loop, without waiting for its
        # next timeout, and lets the pool finish what it runs.
        app.control.shutdown(destination=[_HOSTNAME])
        thread.join()
