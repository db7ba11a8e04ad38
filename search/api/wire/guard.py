"""Limit connections in all and by address, and end slow ones."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Protocol, TypeAlias

from encoder.errors import AnymodalError
from search.api.errors import RateLimitError, TooSlowError
from search.api.wire.pace import Phase
from search.errors import OverloadedError

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_STALLED_S = 0.25  # an active body sends bytes more often than this, even on a slow line
_SPEECHLESS_S = 60.0

MOST_LINGERING = 64
"""How many refused clients can read their answer at a time; others are closed at once."""

_YIELDS = frozenset({Phase.HEAD, Phase.REST, Phase.IDLE})


Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Held(Protocol):
    """A connection, as the guard sees it."""

    host: str
    """The client's address, or that of the proxy in front of it."""

    heard_s: float
    """When the last byte came, by the loop's clock."""

    def phase(self) -> Phase:
        """What it waits for."""

    def slow(self, now_s: float) -> AnymodalError | None:
        """The error for a client that is too slow."""

    def cut(self, error: AnymodalError | None) -> None:
        """End it, and answer with the reason if that is still possible."""


class Guard:
    """Admits connections of one server; for its event loop's thread only.

    When all places are taken, a new client replaces an idle connection: the one that has waited
    longest for a request, or else the body that has stalled longest. It is refused only if all
    are active.

    Args:
        most: the most connections in all.
        most_per_address: the most from one address; an IPv6 network of 64 bits counts as one.
        proxies: networks whose addresses stand for many clients, and have no limit per address.
        changed: called with +1 or -1, and the reason if one was ended or refused.
    """

    def __init__(
        self,
        max_connections: int,
        most_per_address: int,
        proxies: Sequence[Network],
        changed: Callable[[int, str], None],
    ) -> None:
        self._most, self._most_per_address = max_connections, most_per_address
        self._proxies = proxies
        self._changed = changed
        self.n_lingering = 0
        self._held: dict[Held, None] = {}  # in the order in which they last began a request
        self._by_address: dict[str, dict[Held, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._spoke_s = -_SPEECHLESS_S

    def admit(self, new: Held) -> AnymodalError | None:
        """Admit a connection, if need be in place of another; return why if it is refused."""
        own = self._by_address.get(counted_as(new.host), {})
        if len(own) >= self._most_per_address and not self._is_proxy(new.host):
            if not self._make_room(own, "address"):
                return self._refused(
                    "address",
                    RateLimitError(
                        f"{self._most_per_address} requests from this address are already running.",
                        "Send them one after the other.",
                    ),
                )
        elif len(self._held) >= self._most and not self._make_room(self._held, "full"):
            return self._refused(
                "full", OverloadedError(f"{self._most} requests are already running.", "Try again.")
            )
        self._held[new] = None
        self._by_address.setdefault(counted_as(new.host), {})[new] = None
        self._changed(1, "")
        self._look_soon()
        return None

    def began(self, connection: Held) -> None:
        """A request begins, so that this connection is the last to make room."""
        if connection in self._held:
            for order in (self._held, self._by_address[counted_as(connection.host)]):
                order[connection] = order.pop(connection)

    def drop(self, connection: Held, reason: str = "") -> None:
        """Release a connection that has ended."""
        if connection not in self._held:
            return
        del self._held[connection]
        address = counted_as(connection.host)
        del self._by_address[address][connection]
        if not self._by_address[address]:
            del self._by_address[address]
        self._changed(-1, reason)

    def _make_room(self, among: Iterable[Held], reason: str) -> bool:
        """End an idle connection, if there is one."""
        found = _idlest(among)
        if found is None:
            return False
        is_idle = found.phase() is Phase.IDLE
        self.drop(found, reason)
        found.cut(None if is_idle else TooSlowError("Another request needed this connection."))
        self._say("All connections are in use; closing those that wait for a request")
        return True

    def _refused(self, reason: str, error: AnymodalError) -> AnymodalError:
        self._changed(0, reason)
        self._say("All connections are busy; refusing new ones")
        return error

    def _look_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        """End connections that are too slow."""
        self._timer = None
        now_s = asyncio.get_running_loop().time()
        for one in list(self._held):
            if error := one.slow(now_s):
                self.drop(one, "slow")
                one.cut(error)
        if self._held:
            self._look_soon()

    def _say(self, what: str) -> None:
        """Log once a minute at most: a flood must not fill the log."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._spoke_s >= _SPEECHLESS_S:
            self._spoke_s = now_s
            logger.warning("%s (%d held).", what, len(self._held))

    def _is_proxy(self, host: str) -> bool:
        return any(_address(host) in proxy for proxy in self._proxies)


def _idlest(among: Iterable[Held]) -> Held | None:
    """The first that waits for a request, or else the body that has stalled longest."""
    stalled = None
    for one in among:
        phase = one.phase()
        if phase in _YIELDS:
            return one
        if phase is Phase.BODY and (stalled is None or one.heard_s < stalled.heard_s):
            stalled = one
    if stalled and asyncio.get_running_loop().time() - stalled.heard_s >= _STALLED_S:
        return stalled
    return None


@lru_cache(maxsize=4096)
def counted_as(host: str) -> str:
    """The address whose connections are counted together.

    >>> counted_as("203.0.113.7"), counted_as("2001:db8::1"), counted_as("::ffff:203.0.113.7")
    ('203.0.113.7', '2001:db8::/64', '203.0.113.7')
    """
    address = _address(host)
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


_OTHERS = 256  # the store, the model, uploads, pictures, children
_FILES_PER_CONNECTION = 2  # the connection, and what it downloads or uploads


def allow_open_files(connections: int) -> int:
    """Raise the soft limit of open files to what this many connections need.

    Returns:
        How many connections are possible; fewer if the hard limit is too low.
    """
    import resource

    wanted = connections * _FILES_PER_CONNECTION + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    fits = max(1, (soft - _OTHERS) // _FILES_PER_CONNECTION)
    logger.warning(
        "Only %d connections instead of %d: the hard limit of open files is %d (`ulimit -Hn`).",
        fits,
        connections,
        hard,
    )
    return fits
