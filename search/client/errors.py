"""Errors of the client, in the class tree of `encoder.errors`."""

from __future__ import annotations

import json
from typing import Any

from encoder.errors import AnymodalError
from encoder.system.backoff import asked_wait_s
from search.errors import NotFoundError


class UnreachableError(AnymodalError):
    """No server answers at the URL, or the connection broke."""

    retryable = True


class ServerError(AnymodalError):
    """The server answered with an error; its subclasses say which kind.

    Args:
        problem: what is wrong.
        remedy: what to do about it.
        status: the HTTP status.
        kind: the name of the server's own error, such as ``InputError``.
        field: the part of the request that is wrong, if one is.
        retry_after_s: how many seconds the server asks clients to wait before a retry.
    """

    def __init__(
        self,
        problem: str,
        remedy: str = "",
        *,
        status: int = 500,
        kind: str = "",
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(problem, remedy)
        self.status, self.kind, self.field = status, kind, field
        self.retry_after_s = retry_after_s


class BadRequestError(ServerError):
    """The request is wrong; the same one will be refused again."""


class AccessError(ServerError):
    """No key, an unknown key, or one without the required scope."""


class MissingError(ServerError, NotFoundError):
    """There is no such asset or job."""


class BusyError(ServerError):
    """Too many requests, too much load, or a part of the server that does not answer."""

    retryable = True


_CLASSES: dict[int, type[ServerError]] = {
    401: AccessError,
    403: AccessError,
    404: MissingError,
    429: BusyError,
    503: BusyError,
    504: BusyError,
}


def error_of(status: int, body: bytes, retry_after: str = "") -> ServerError:
    """The error that an answer stands for.

    Args:
        status: 400 to 599.
        body: the answer; a proxy's can have a different format.
        retry_after: the header ``Retry-After`` in seconds; empty if there is none.

    >>> error_of(404, b'{"error": {"type": "NotFoundError", "message": "No asset a."}}')
    MissingError('No asset a.', '')
    """
    fault = _fault(body)
    default = BadRequestError if status < 500 else ServerError
    return _CLASSES.get(status, default)(
        str(fault.get("message") or f"The server answered with status {status}."),
        str(fault.get("remedy") or ""),
        status=status,
        kind=str(fault.get("type") or ""),
        field=fault.get("field"),
        retry_after_s=asked_wait_s(retry_after),
    )


def _fault(body: bytes) -> dict[str, Any]:
    try:
        fault = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return fault if isinstance(fault, dict) else {}
