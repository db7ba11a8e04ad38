"""Decode several assets side by side into one bounded stream of batches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event
from time import perf_counter

from encoder.errors import MediaError
from ingest.types import Asset, Segment
from workers.observe.logs import about
from workers.observe.tracing import span

Decode = Callable[[Asset], Iterable[Segment]]
_POLL_S = 0.1
_LEAST_STEPS = 16
"""Fewer texts would not fill a run of the text network."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """One step of decoding an asset: a segment, an error that ends it, or (neither) its end."""

    asset: Asset
    segment: Segment | None = None
    error: MediaError | None = None
    busy_s: float = 0.0


def decode_side_by_side(
    assets: Sequence[Asset], decode: Decode, *, threads: int, max_waiting: int
) -> Generator[list[Decoded], None, None]:
    """Decode assets in threads, ahead of the consumer.

    Each asset ends with a `Decoded` that holds no segment. An exception other than `MediaError`
    is raised here.

    Args:
        threads: how many assets are decoded at a time.
        max_waiting: how many steps may wait, so that memory stays flat, and the most in a batch.

    Yields:
        what has been decoded, at least a few steps, without waiting for the end of a long film.
    """
    queue: Queue[Decoded] = Queue(max_waiting)
    stop = Event()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        futures = [
            pool.submit(copy_context().run, _decode_into, queue, stop, asset, decode)
            for asset in assets
        ]
        n_open = len(assets)
        try:
            while n_open:
                batch: list[Decoded] = []
                while n_open and len(batch) < max_waiting:
                    try:
                        step = queue.get(len(batch) < _LEAST_STEPS, _POLL_S)
                    except Empty:
                        if len(batch) >= _LEAST_STEPS:
                            break
                        for future in futures:
                            if future.done():
                                future.result()  # raises what it ended with
                        continue
                    n_open -= step.segment is None
                    batch.append(step)
                yield batch
        finally:
            # The consumer may leave early (an error, Ctrl-C): release threads that wait in `_put`.
            stop.set()


def _decode_into(queue: Queue[Decoded], stop: Event, asset: Asset, decode: Decode) -> None:
    if stop.is_set():
        return
    started = perf_counter()
    waited_s = 0.0
    last = Decoded(asset)
    try:
        with about(asset_id=asset.asset_id), span("decode", asset_id=asset.asset_id):
            for segment in decode(asset):
                waited_s += _put(queue, stop, Decoded(asset, segment))
                if stop.is_set():
                    return
    except MediaError as error:
        last = Decoded(asset, error=error)
    busy_s = perf_counter() - started - waited_s
    _put(queue, stop, Decoded(asset, error=last.error, busy_s=busy_s))


def _put(queue: Queue[Decoded], stop: Event, step: Decoded) -> float:
    """Put a step unless stopped; return the seconds of waiting."""
    started = perf_counter()
    while not stop.is_set():
        try:
            queue.put(step, timeout=_POLL_S)
            break
        except Full:
            continue
    return perf_counter() - started
