"""Applied to every request and response, whatever the endpoint."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from time import perf_counter
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from encoder.errors import AnymodalError
from search.api.access.auth import OWNER, is_loopback
from search.api.config import ApiConfig
from search.api.errors import ForbiddenError, HostHeaderError, TooLargeError, error_answer
from search.api.metrics import Metrics
from search.request_id import serving

logger = logging.getLogger(__name__)

_LEFT = 499  # nginx's number for a client that hung up

_UPLOAD = ("POST", "/v1/assets")
_UPLOAD_FRAME_BYTES = 2**20  # what multipart adds to the files
_TAKES_MEDIA = re.compile(
    r"/v1/(search|embeddings|audio)(/.*)?|/v[12]/(embed|rerank)|(/api)?/embed"
)
_SMALL_BODY_BYTES = 2**20
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": _PAGE_POLICY,
}
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Refusal: TypeAlias = AnymodalError | None


class Edge:
    """ASGI middleware: request ids, security headers, body limits, and allowed origins.

    On the loopback device, the ``Host`` must be one of this machine's: else a stranger's page,
    whose host name is made to resolve to 127.0.0.1, could read the data here.
    """

    def __init__(self, app: ASGIApp, config: ApiConfig, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._config = config
        local = {"localhost", "127.0.0.1", "::1", config.host} if is_loopback(config.host) else ()
        self._hosts = frozenset({*local, *config.allowed_hosts})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        with serving(request_id):
            await self._serve(scope, receive, send, request_id)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        headers, began = Headers(scope=scope), perf_counter()
        answer = _Answer(send, request_id, scope["state"])
        limit = self._max_bytes(scope)
        try:
            if refusal := self._refusal(scope, headers, limit):
                raise refusal
            await self._app(scope, _counted(receive, limit), answer.send)
        except Exception as error:  # noqa: BLE001  answered or raised by _fail
            if not _has_left(error):
                await _fail(error, answer, scope, receive)
        finally:
            self._answered(scope, answer.outcome, perf_counter() - began)

    def _answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count by the endpoint's name: the path is private."""
        endpoint = _endpoint(scope)
        self._metrics.answered(endpoint, status, seconds)
        logger.info("%s %s %d in %.1f ms", scope["method"], endpoint, status, seconds * 1000)

    def _max_bytes(self, scope: Scope) -> int:
        if (scope["method"], scope["path"]) == _UPLOAD:
            return self._config.max_upload_bytes + _UPLOAD_FRAME_BYTES
        if _TAKES_MEDIA.fullmatch(scope["path"]):
            return self._config.max_body_bytes
        return min(self._config.max_body_bytes, _SMALL_BODY_BYTES)

    def _refusal(self, scope: Scope, headers: Headers, limit: int) -> Refusal:
        host, *more_hosts = headers.getlist("host") or [""]
        if more_hosts:  # a proxy may have checked one of them, and we another
            return HostHeaderError(
                f"The request has {len(more_hosts) + 1} Host headers.", "Send one (RFC 9112, 3.2)."
            )
        if self._hosts and _host_name(host) not in self._hosts and not scope["state"].get(OWNER):
            return ForbiddenError(
                f"The host {host[:200]!r} is not served.",
                "Ask for localhost, or add it to ANYMODAL_API__ALLOWED_HOSTS.",
            )
        if scope["method"] in _CHANGES and self._is_foreign(headers, host):
            return ForbiddenError(
                "The request comes from another site's page.",
                "Add that site to ANYMODAL_API__CORS_ORIGINS if you trust it.",
            )
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > limit:
            return _too_large(limit)
        return None

    def _is_foreign(self, headers: Headers, host: str) -> bool:
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site") == "cross-site"
        return origin not in self._config.cors_origins and urlsplit(origin).netloc != host


class _Answer:
    """A response being sent, and its outcome."""

    def __init__(self, send: Send, request_id: str, state: MutableMapping[str, Any]) -> None:
        self._send, self._request_id, self._state = send, request_id, state
        self.started = self._complete = False
        self.status = _LEFT

    async def send(self, message: Message) -> None:
        """Pass it on, with the headers that each answer has."""
        if self._state.get("hung_up"):
            raise ClientDisconnect
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            _decorate(message, self._request_id)
        await self._send(message)
        is_last = message["type"] == "http.response.body" and not message.get("more_body")
        self._complete = self._complete or is_last

    @property
    def outcome(self) -> int:
        """The status to count: 499 for a client that left, 408 for one that was too slow."""
        if self._complete:
            return self.status
        cut: int | None = self._state.get("cut")
        return cut or (_LEFT if self._state.get("hung_up") else self.status)


def _has_left(error: Exception) -> bool:
    """Whether an error only means that the client has left."""
    if isinstance(error, ExceptionGroup):
        return all(map(_has_left, error.exceptions))
    return isinstance(error, ClientDisconnect)


async def _fail(error: Exception, answer: _Answer, scope: Scope, receive: Receive) -> None:
    """Respond with an error, if no response was started."""
    if answer.started:
        answer.status = 500
        raise error
    if not isinstance(error, AnymodalError):
        logger.exception("request %s failed", scope["state"]["request_id"])
    with suppress(ClientDisconnect):
        await error_answer(error)(scope, receive, answer.send)


def _endpoint(scope: Scope) -> str:
    """The endpoint's name; paths hold ids, which are unbounded."""
    return getattr(scope.get("route"), "operation_id", None) or "other"


def _counted(receive: Receive, limit: int) -> Receive:
    """Count the bytes, since bodies can come without a length, or with a wrong one."""
    n_bytes = 0

    async def receive_counted() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > limit:
            raise _too_large(limit)
        return message

    return receive_counted


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"The body is larger than {limit:,} bytes.", "Send less at once.")


def _host_name(host: str) -> str:
    """The name without the port.

    >>> _host_name("localhost:8080"), _host_name("[::1]:8080")
    ('localhost', '::1')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _request_id(headers: Headers) -> str:
    """The client's id if it is well formed, so that both logs agree; else a new one."""
    sent = headers.get("x-request-id", "")
    return sent if _ID.fullmatch(sent) else secrets.token_hex(8)


def _decorate(message: Message, request_id: str) -> None:
    headers: Any = MutableHeaders(scope=message)
    headers["X-Request-ID"] = request_id
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
