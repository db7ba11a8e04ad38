"""Authentication and authorisation of requests."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Annotated, NamedTuple

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from encoder.errors import InputError
from search.api.access.keys import SCOPES, ApiKey, KeyRing, Sessions
from search.api.config import ApiConfig
from search.api.errors import PATHS, ForbiddenError, RateLimitError, UnauthorizedError

COOKIE = "anymodal_session"
"""Set by ``POST /v1/session``; valid for GET only, since pictures and players in a page cannot
send a header."""

OWNER = "owner"
"""In the state of a request: it came from this user over a Unix socket, and may do everything."""

_BURST_S = 10.0


@dataclass
class Bucket:
    """A token bucket: a rate per minute, and bursts of ten seconds' worth."""

    per_minute: int
    clock: Callable[[], float] = monotonic

    def __post_init__(self) -> None:
        self._most = max(1.0, self.per_minute * _BURST_S / 60)
        self._left = self._most
        self._seen = self.clock()

    def take(self) -> float:
        """Take a token and return 0; if none is left, return the seconds until there is one."""
        now = self.clock()
        self._left = min(self._most, self._left + (now - self._seen) * self.per_minute / 60)
        self._seen = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) * 60 / self.per_minute


class Sender(NamedTuple):
    """Who sent a request: what it may do, and its key, if it has one."""

    scopes: frozenset[str]
    key: ApiKey | None = None


class Access:
    """Decides by key and scope. Safe to use from threads.

    Args:
        keys: the keys that are known.
        required: whether requests without a key are refused.
        own: whether requests without a key come from this machine's user, who knows its paths.
    """

    def __init__(self, keys: KeyRing, *, required: bool, own: bool = False) -> None:
        self.required = required
        self._keyless = frozenset({"read", "write", *([PATHS] if own else [])})
        self._keys = keys
        self._buckets: dict[str, Bucket] = {}
        self._lock = Lock()

    def check(self, token: str | None, scope: str) -> Sender:
        """The sender of a request.

        Once there are keys, one that is wrong or revoked is refused, also where none is required.
        Before, any is ignored: many clients always send one.
        """
        key = self.key_of(token) if token else None
        return self._without_key(token, scope) if key is None else self._allowed(key, scope)

    def check_session(self, key_id: str, scope: str) -> Sender:
        """The sender with a session's key."""
        key = self._keys.get(key_id)
        if key is None:
            raise UnauthorizedError("The key of this session was revoked.", "Send another key.")
        return self._allowed(key, scope)

    def key_of(self, token: str) -> ApiKey | None:
        """The key of a token; None if it is wrong or revoked."""
        return self._keys.find(token)

    def _allowed(self, key: ApiKey, scope: str) -> Sender:
        self._limit(key)
        if not key.allows(scope):
            raise ForbiddenError(f"The key lacks the scope {scope}.", "Use one that has it.")
        return Sender(frozenset(key.scopes), key)

    def _without_key(self, token: str | None, scope: str) -> Sender:
        if self.required or (token and self._keys.all()):
            raise UnauthorizedError(
                "No key was sent." if token is None else "The key is unknown or was revoked.",
                "Send the header `Authorization: Bearer KEY`; `anymodal keys create` makes a key."
                + ("" if self.required else " From this machine, none is needed."),
            )
        if scope == "admin":
            raise ForbiddenError("This needs a key with the scope admin.")
        return Sender(self._keyless)

    def _limit(self, key: ApiKey) -> None:
        with self._lock:
            bucket = self._buckets.setdefault(key.key_id, Bucket(key.per_minute))
            wait_s = bucket.take()
        if wait_s:
            raise RateLimitError(
                f"The key is limited to {key.per_minute} requests a minute.", "Ask later.", wait_s
            )


def access_for(config: ApiConfig, keys: KeyRing) -> Access:
    """The access rules: keys are required where other machines can connect, or if configured."""
    required = config.require_key or not (config.allow_no_key or is_loopback(config.host))
    if required and not any(key.revoked is None for key in keys.all()):
        raise InputError(
            "--host",
            got=f"{config.host}, which others can reach, and no key",
            wanted="a key (`anymodal keys create NAME`), or --allow-no-key to allow everyone",
        )
    # A host name besides this machine's own means a proxy in front, with remote clients.
    own = is_loopback(config.host) and not config.allowed_hosts
    return Access(keys, required=required, own=own)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("")
    (True, True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_bearer = HTTPBearer(auto_error=False, description="A key made by `anymodal keys create`.")


class Needs:
    """A dependency: the sender must have this scope.

    ``whole``: the answer describes the whole library, so keys with a filter are refused.
    """

    def __init__(self, scope: str, *, whole: bool = False) -> None:
        self.scope, self.whole = scope, whole

    async def __call__(
        self,
        request: Request,
        sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> None:
        """Stores the sender's scopes and key in ``request.state``."""
        request.state.key = None
        if getattr(request.state, OWNER, False):
            request.state.scopes = frozenset({*SCOPES, PATHS})
            return
        access: Access = request.app.state.services.access
        sessions: Sessions = request.app.state.services.sessions
        key_id = None
        if sent is None and request.method in ("GET", "HEAD"):
            key_id = sessions.key_id(request.cookies.get(COOKIE, ""))
        sender = (
            access.check_session(key_id, self.scope)
            if key_id is not None
            else access.check(sent.credentials if sent else None, self.scope)
        )
        request.state.scopes, request.state.key = sender
        if self.whole and sender.key and sender.key.filter is not None:
            raise ForbiddenError(
                "This describes the whole library, and the key sees only a part of it.",
                "Use a key without a filter.",
            )


async def _may_scrape(
    request: Request,
    sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Require a key, unless Prometheus is let in without one."""
    if not request.app.state.services.config.open_metrics:
        await Needs("read", whole=True)(request, sent)


METRICS = [Depends(_may_scrape)]
READ = [Depends(Needs("read"))]
READ_WHOLE = [Depends(Needs("read", whole=True))]
WRITE = [Depends(Needs("write"))]
"""For ``dependencies=`` of an endpoint."""


def scope_of(route: APIRoute, config: ApiConfig) -> str | None:
    """The scope that a key needs for an endpoint; None where no key is required."""
    for needed in (dependant.call for dependant in route.dependant.dependencies):
        if isinstance(needed, Needs):
            return needed.scope
        if needed is _may_scrape:
            return None if config.open_metrics else "read"
    return None
