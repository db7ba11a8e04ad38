"""Errors as responses: a status, the problem and the remedy."""

from __future__ import annotations

import errno
import logging
import math
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from encoder.errors import (
    AnymodalError,
    DiskError,
    InputError,
    MediaError,
    MediaLimitError,
    UnsupportedMediaError,
)
from search.errors import (
    CancelledError,
    NotFoundError,
    OutsideError,
    OverloadedError,
    ReadOnlyStoreError,
    StoreGoneError,
    TimeLimitError,
    TooCostlyError,
)

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse


class TooLargeError(AnymodalError):
    """The body is too large."""


class HeadTooLargeError(AnymodalError):
    """The head of a request is too large."""


class HostHeaderError(AnymodalError):
    """The request names several hosts."""


class TooSlowError(AnymodalError):
    """The client sent or read too slowly."""


class ContentTypeError(AnymodalError):
    """The content type is not supported."""


class UnauthorizedError(AnymodalError):
    """The key is missing or unknown."""


class ForbiddenError(AnymodalError):
    """The key lacks the scope, or the request comes from another site."""


class RateLimitError(AnymodalError):
    """The key exceeds its rate.

    Args:
        problem: what is wrong.
        remedy: what to do.
        wait_s: seconds until the next request is allowed.
    """

    retryable = True

    def __init__(self, problem: str, remedy: str = "", wait_s: float = 1.0) -> None:
        super().__init__(problem, remedy)
        self.wait_s = wait_s


logger = logging.getLogger(__name__)

PATHS = "paths"
"""The scope of this machine's user without a key; no key has it."""
_STATUS: tuple[tuple[type[Exception], int], ...] = (  # the first that fits
    (NotFoundError, 404),
    (InputError, 422),
    (MediaLimitError, 413),
    (UnsupportedMediaError, 415),
    (MediaError, 422),
    (ReadOnlyStoreError, 403),
    (DiskError, 507),
    (CancelledError, 499),  # nobody will read it
    (TooSlowError, 408),
    (TooLargeError, 413),
    (TooCostlyError, 413),
    (HeadTooLargeError, 431),
    (HostHeaderError, 400),
    (ContentTypeError, 415),
    (UnauthorizedError, 401),
    (ForbiddenError, 403),
    (OutsideError, 403),
    (RateLimitError, 429),
    (TimeLimitError, 504),
    (OverloadedError, 503),
    (StoreGoneError, 503),
)
_GONE = "Ask the operator to put them back, or to restart the server with a new, empty store."
_NOT_NOW = "The server cannot do this now."
_RETRY_AFTER_S = 1
_NOT_FIELDS = ("body", "path", "str", "FilePart")  # pydantic's, not in the request


def status_of(error: Exception) -> int:
    """The HTTP status of an error; 500 for unexpected ones."""
    for error_class, status in _STATUS:
        if isinstance(error, error_class):
            return status
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return 503
    return 503 if isinstance(error, AnymodalError) and error.retryable else 500


def body_of(error: Exception, *, in_full: bool = False) -> dict[str, Any]:
    """The body of an error response; errors within the server are not described.

    ``in_full``: its reader may see the addresses of what does not answer.
    """
    if isinstance(error, OSError) and status_of(error) == 503:
        return _body("OverloadedError", "Too many files are open at once.", "Try again later.")
    if status_of(error) == 500 or not isinstance(error, AnymodalError):
        return _body("InternalError", "The server failed.", "See its log.")
    error_type = type(error).__name__
    if isinstance(error, ReadOnlyStoreError):  # its message has paths, like DiskError's
        return _body(
            error_type, "This store can be searched, but not written to.", "Ask its operator."
        )
    if isinstance(error, StoreGoneError):
        return _body(error_type, "The store's files were removed or moved.", _GONE)
    if isinstance(error, DiskError):
        return _body(
            error_type, "The server cannot write to its disk.", "Ask its operator to check the log."
        )
    is_away = status_of(error) == 503 and not isinstance(error, OverloadedError)
    if is_away and not in_full:  # holds addresses
        problem = f"The {error.failing} does not answer." if error.failing else _NOT_NOW
        return _body(error_type, problem, "Try again later.")
    if not isinstance(error, InputError):
        return _body(error_type, error.problem, error.remedy)
    field = as_sent(error.argument)
    return _body(
        error_type, field + error.problem.removeprefix(error.argument), error.remedy, field
    )


def as_sent(argument: str) -> str:
    """A client's name for a part of `Query`, whose fields it sends next to the terms.

    >>> as_sent("query.cursor"), as_sent("query.items"), as_sent("query[0].image")
    ('cursor', 'query', 'query[0].image')
    """
    return "query" if argument == "query.items" else argument.removeprefix("query.")


def error_answer(error: Exception, *, joined: bool = False, in_full: bool = False) -> JSONResponse:
    """The complete response to an error, including pydantic's."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        status, body = 422, invalid_body(error.errors()[0])
    else:
        status, body = status_of(error), body_of(error, in_full=in_full)
    if joined:
        fault = body["error"]
        fault["message"] = f"{fault['message']} {fault['remedy']}".rstrip()
    headers = {}
    if status in (429, 503):
        headers["Retry-After"] = str(_retry_after_s(error))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(status, body, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Turn errors into responses; `search.api.edge` handles unexpected ones."""
    from fastapi.exceptions import RequestValidationError
    from pydantic import ValidationError
    from starlette.exceptions import HTTPException

    app.add_exception_handler(AnymodalError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(ValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_error(request: Request, error: Exception) -> JSONResponse:
    if status_of(error) == 500:
        logger.error("A request failed", exc_info=error)
    return error_answer(error, in_full=sees_paths(getattr(request.state, "scopes", ())))


def sees_paths(scopes: Collection[str]) -> bool:
    """Whether a sender with these scopes may know where files of this server are."""
    return not {"admin", PATHS}.isdisjoint(scopes)


def _retry_after_s(error: Exception) -> int:
    return math.ceil(error.wait_s) if isinstance(error, RateLimitError) else _RETRY_AFTER_S


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    first = error.errors()[0]  # type: ignore[attr-defined]
    return _answer(422, invalid_body(first))


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code  # type: ignore[attr-defined]
    detail = str(error.detail)  # type: ignore[attr-defined]
    headers = {**(error.headers or {})}  # type: ignore[attr-defined]
    if status == 405:
        headers["Allow"] = ", ".join(allowed_methods(request))
    return _answer(status, _body("HTTPError", f"{detail}.", "See /openapi.json."), headers)


def allowed_methods(request: Request) -> list[str]:
    """The methods of a request's path. The router itself names only the first endpoint's."""
    from starlette.routing import Match

    endpoints = request.app.state.endpoints
    matching = [
        endpoint for endpoint in endpoints if endpoint.matches(request.scope)[0] is not Match.NONE
    ]
    return sorted({method for endpoint in matching for method in endpoint.methods}) or [
        "GET",
        "HEAD",
    ]


def invalid_body(fault: Any) -> dict[str, Any]:
    """The answer to one fault that pydantic found."""
    keys = [key for key in fault["loc"] if key not in _NOT_FIELDS]
    field = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    name = field.removeprefix(".")
    what = fault["msg"].removeprefix("Value error, ")
    return _body("InputError", f"{name or 'body'}: {what}.", "See /openapi.json.", name or None)


def _answer(status: int, body: dict[str, Any], headers: Any = None) -> JSONResponse:
    from fastapi.responses import JSONResponse

    return JSONResponse(body, status, headers)


def _body(error_type: str, message: str, remedy: str, field: str | None = None) -> dict[str, Any]:
    fault = {"type": error_type, "message": message, "remedy": remedy, "field": field}
    return {"error": fault | {"code": _code(error_type), "param": field}}


def _code(error_type: str) -> str:
    """The error code that OpenAI's clients expect for a type.

    >>> _code("RateLimitError"), _code("HTTPError")
    ('rate_limit', 'http')
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error_type.removesuffix("Error")).lower()
