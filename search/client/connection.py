"""Sends requests, in a thread or in an event loop, and repeats those that may succeed later."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import anyio
import httpx2

from encoder.errors import AnymodalError
from search.client.calls import ApiCall
from search.client.errors import BusyError, UnreachableError, error_of

T = TypeVar("T")


def client_settings(url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    """Arguments of both of httpx2's clients."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {"base_url": url, "headers": headers, "timeout": timeout_s}


def send(client: httpx2.Client, call: ApiCall[T], retries: int) -> T:
    """The answer.

    Raises:
        ServerError: the server refused or failed.
        UnreachableError: no server answers.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            with _unreachable(client.base_url):
                answer = client.request(call.method, call.path, **_sent(call))
            return _read(call, answer)
        except AnymodalError as error:
            wait = wait_s(error, attempt, retries)
            if wait is None:
                raise
        time.sleep(wait)


async def send_async(client: httpx2.AsyncClient, call: ApiCall[T], retries: int) -> T:
    """See `send`."""
    attempt = 0
    while True:
        attempt += 1
        try:
            with _unreachable(client.base_url):
                answer = await client.request(call.method, call.path, **_sent(call))
            return _read(call, answer)
        except AnymodalError as error:
            wait = wait_s(error, attempt, retries)
            if wait is None:
                raise
        await anyio.sleep(wait)


def check(answer: httpx2.Response) -> None:
    """Raise the error of an answer whose body was read."""
    if answer.is_error:
        after = answer.headers.get("retry-after", "")
        raise error_of(answer.status_code, answer.content, after)


class _unreachable:  # noqa: N801 (used as a statement)
    """Turns httpx2's errors into `UnreachableError`."""

    def __init__(self, url: object) -> None:
        self._url = url

    def __enter__(self) -> None: ...

    def __exit__(self, error_class: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, httpx2.TransportError):
            raise UnreachableError(
                f"No answer from {self._url}: {error or type(error).__name__}.",
                "Check the URL, and that `anymodal serve` runs there.",
            ) from error


def _sent(call: ApiCall[Any]) -> Mapping[str, Any]:
    arguments: dict[str, Any] = {"params": dict(call.params)}
    if call.json is not None:
        arguments["json"] = call.json
    if call.files is not None:
        arguments |= {"data": dict(call.fields), "files": call.files()}
    return arguments


def _read(call: ApiCall[T], answer: httpx2.Response) -> T:
    check(answer)
    return call.read(answer.content)


_FIRST_S = 0.25
_MOST_S = 60.0


def wait_s(error: AnymodalError, attempt: int, retries: int) -> float | None:
    """Seconds until the next attempt; None to give up.

    The server's ``Retry-After`` is used. Without one, waits double and vary by half, so that
    clients that failed together do not return together (AWS Architecture Blog, "Exponential Backoff
    And Jitter").

    Args:
        error: what the last attempt ended with.
        attempt: how many were made, from 1.
        retries: the most attempts after the first.

    >>> wait_s(BusyError("busy", status=429, retry_after_s=7.0), 1, 3)
    7.0
    >>> wait_s(BusyError("a deadline passed", status=504), 1, 3) is None
    True
    """
    if attempt > retries or not _is_worth_it(error):
        return None
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        return float(retry_after_s) if retry_after_s <= _MOST_S else None
    return min(_FIRST_S * 2.0 ** (attempt - 1), _MOST_S) * random.uniform(0.5, 1.0)


def _is_worth_it(error: AnymodalError) -> bool:
    """Not after a deadline: the same request would take as long again."""
    if isinstance(error, BusyError):
        return error.status in (429, 503)
    return isinstance(error, UnreachableError)
