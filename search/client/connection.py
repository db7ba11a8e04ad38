"""How a call is sent, what its errors mean, and when it is repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from encoder.errors import AnymodalError
from search.client.calls import ApiCall
from search.client.errors import BusyError, UnreachableError, error_of


def client_settings(url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    """Arguments of both of httpx2's clients."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {"base_url": url, "headers": headers, "timeout": timeout_s}


def check(answer: httpx2.Response) -> None:
    """Raise the error of an answer whose body was read."""
    if answer.is_error:
        after = answer.headers.get("retry-after", "")
        raise error_of(answer.status_code, answer.content, after)


@contextmanager
def reaching(url: object) -> Iterator[None]:
    """Turns httpx2's errors into `UnreachableError`."""
    try:
        yield
    except httpx2.TransportError as error:
        raise UnreachableError(
            f"No answer from {url}: {error or type(error).__name__}.",
            "Check the URL, and that `anymodal serve` runs there.",
        ) from error


def arguments_of(call: ApiCall[Any]) -> dict[str, Any]:
    """What httpx2 takes for a call besides its method and path."""
    arguments: dict[str, Any] = {"params": dict(call.params)}
    if call.json is not None:
        arguments["json"] = call.json
    if call.files is not None:
        arguments |= {"data": dict(call.fields), "files": call.files()}
    return arguments


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
