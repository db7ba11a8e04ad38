"""Limit connections in all and by address, and end slow ones."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import socket
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from encoder.errors import AnymodalError
from encoder.system.private import is_own
from search.api.access.auth import OWNER
from search.api.errors import (
    HeadTooLargeError,
    RateLimitError,
    TooSlowError,
    error_answer,
    status_of,
)
from search.errors import OverloadedError

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState


class Phase(Enum):
    """What a connection waits for."""

    HEAD = "the head of a request"
    BODY = "more of a body, for which the application waits"
    REST = "the rest of a body that was answered already"
    WRITE = "the client, which is to take what was written"
    WORK = "the server"
    IDLE = "the next request, or nothing any more"


@dataclass(frozen=True)
class PaceLimits:
    """How slow a client may be: a time for heads, a rate for bodies, as in Apache's mod_reqtimeout.

    Args:
        head_s: the longest that a request's head may take.
        body_s: the seconds over which the rate of a body is measured.
        write_s: the seconds over which the rate of an answer is measured.
        bytes_per_s: the lowest rate of either.
    """

    head_s: float
    body_s: float
    write_s: float
    bytes_per_s: int


class Pace:
    """Whether a connection makes progress, by samples; no I/O.

    Only waiting for the client is timed. While it is the server's turn, as in a long search or
    between two events of a job, a connection may be silent.
    """

    def __init__(self, limits: PaceLimits) -> None:
        self._limits = limits
        self._turn: Hashable = None
        self._since_s = 0.0
        self._n_bytes = 0

    def is_too_slow(self, phase: Phase, turn: Hashable, n_bytes: int, now_s: float) -> bool:
        """Take a sample.

        Args:
            phase: what it waits for now.
            turn: changes whenever something new begins; the clock then starts again.
            n_bytes: how many bytes have moved so far.
            now_s: the time.
        """
        if (phase, turn) != self._turn:
            self._turn = phase, turn
            self._begin(n_bytes, now_s)
            return False
        passed_s = now_s - self._since_s
        if phase in (Phase.HEAD, Phase.REST):
            is_head = phase is Phase.HEAD
            return passed_s >= (self._limits.head_s if is_head else self._limits.body_s)
        windows = {Phase.BODY: self._limits.body_s, Phase.WRITE: self._limits.write_s}
        if passed_s < windows.get(phase, math.inf):
            return False
        is_slow = n_bytes - self._n_bytes < self._limits.bytes_per_s * passed_s
        self._begin(n_bytes, now_s)
        return is_slow

    def _begin(self, n_bytes: int, now_s: float) -> None:
        self._n_bytes, self._since_s = n_bytes, now_s


logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_STALLED_S = 0.25  # an active body sends bytes more often than this, even on a slow line
_SPEECHLESS_S = 60.0

MOST_LINGERING = 64
"""How many refused clients can read their answer at a time; others are closed at once."""

_YIELDS = frozenset({Phase.HEAD, Phase.REST, Phase.IDLE})


Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


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
        self._held: dict[
            GuardedProtocol, None
        ] = {}  # in the order in which they last began a request
        self._by_address: dict[str, dict[GuardedProtocol, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._spoke_s = -_SPEECHLESS_S

    def admit(self, new: GuardedProtocol) -> AnymodalError | None:
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

    def began(self, connection: GuardedProtocol) -> None:
        """A request begins, so that this connection is the last to make room."""
        if connection in self._held:
            for order in (self._held, self._by_address[counted_as(connection.host)]):
                order[connection] = order.pop(connection)

    def drop(self, connection: GuardedProtocol, reason: str = "") -> None:
        """Release a connection that has ended."""
        if connection not in self._held:
            return
        del self._held[connection]
        address = counted_as(connection.host)
        del self._by_address[address][connection]
        if not self._by_address[address]:
            del self._by_address[address]
        self._changed(-1, reason)

    def _make_room(self, among: Iterable[GuardedProtocol], reason: str) -> bool:
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


def _idlest(among: Iterable[GuardedProtocol]) -> GuardedProtocol | None:
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


_MAX_HEAD_BYTES = 64 * 1024
_LINGER_S = 1.0


class GuardedProtocol(HttpToolsProtocol):
    """One connection. The application learns in ``scope["state"]`` how it ended.

    ``hung_up`` is true there when the client has left before its answer was complete; ``cut`` is
    the status that was sent to it when the guard ended the connection. `OWNER` is true there for
    requests of this user over a Unix socket.
    """

    def __init__(
        self,
        guard: Guard,
        limits: PaceLimits,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._guard, self._pace = guard, Pace(limits)
        self._limits = limits
        self.host = ""
        self.heard_s = self.loop.time()
        self._n_in = self._n_head = 0
        self._n_messages = self._n_resumed = 0
        self._in_message = self._has_head = self._is_refused = False
        self._unanswered = deque[RequestResponseCycle]()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection, or refuse it; close a Unix socket of another user."""
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        if peer.family == socket.AF_UNIX:
            if not is_own(peer):
                transport.abort()
                return
            self.app_state = {**self.app_state, OWNER: True}
        self.host = self.client[0] if self.client else "127.0.0.1"
        if refusal := self._guard.admit(self):
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the place, and notify the application."""
        self._guard.drop(self)
        if self._is_refused:
            self._guard.n_lingering -= 1
        for cycle in self._unanswered:  # of several sent at once, uvicorn tells the last alone
            if not cycle.response_complete:
                cycle.scope["state"]["hung_up"] = cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes that arrive."""
        if self._is_refused or self.transport.is_closing():
            return
        self.heard_s = self.loop.time()
        self._n_in += len(data)
        super().data_received(data)
        if self._in_message and not self._has_head:
            self._n_head += len(data)
            if self._n_head > _MAX_HEAD_BYTES:
                self._guard.drop(self, "head")
                self.cut(HeadTooLargeError(f"The head is larger than {_MAX_HEAD_BYTES:,} bytes."))
        else:
            self._n_head = 0

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_message, self._has_head = True, False
        self._n_messages += 1
        self._guard.began(self)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._has_head = True
        super().on_headers_complete()
        while self._unanswered and self._unanswered[0].response_complete:
            self._unanswered.popleft()
        self._unanswered.append(self.cycle)

    def on_message_complete(self) -> None:
        """Its body is whole."""
        self._in_message = False
        super().on_message_complete()

    def resume_writing(self) -> None:
        """The client has taken what was written."""
        self._n_resumed += 1
        super().resume_writing()

    def phase(self) -> Phase:
        """What it waits for."""
        cycle = self.cycle
        if self.transport.is_closing():
            return Phase.WRITE
        if cycle is None or cycle.response_complete:
            return self._phase_between()
        if self.flow.write_paused:
            return Phase.WRITE
        comes = cycle.body or self.flow.read_paused or cycle.waiting_for_100_continue
        return Phase.BODY if cycle.more_body and not comes else Phase.WORK

    def slow(self, now_s: float) -> AnymodalError | None:
        """The error for a client that is too slow."""
        phase = self.phase()
        turn = (self._n_messages, self._n_resumed)
        n_bytes = self._n_in if phase is Phase.BODY else -self.transport.get_write_buffer_size()
        if not self._pace.is_too_slow(phase, turn, n_bytes, now_s):
            return None
        if phase is Phase.HEAD:
            return TooSlowError(
                f"The head of a request did not come within {self._limits.head_s:g} s.",
                "Send it at once.",
            )
        return TooSlowError(
            f"Less than {self._limits.bytes_per_s} bytes moved in a second.",
            "Use a faster line, or send less.",
        )

    def cut(self, error: AnymodalError | None) -> None:
        """End it, and answer with the reason if that is still possible."""
        self._guard.drop(self)
        phase, cycle = self.phase(), self.cycle
        is_open = cycle is not None and not cycle.response_complete
        if is_open and error:
            cycle.scope["state"]["cut"] = status_of(error)
        if phase is Phase.WRITE:
            self.transport.abort()
            return
        # Silent clients expect nothing: browsers open connections ahead of their requests.
        waits = self._in_message and phase is Phase.HEAD
        if error and (waits or (is_open and not cycle.response_started)):
            self.transport.write(_written(error))
        self.transport.close()

    def _phase_between(self) -> Phase:
        if self.transport.get_write_buffer_size():
            return Phase.WRITE
        if self._in_message:
            return Phase.REST if self._has_head else Phase.HEAD
        return Phase.HEAD if self.cycle is None else Phase.IDLE

    def _refuse(self, error: AnymodalError) -> None:
        """Answer at once, and close a moment later, or the client would not see the answer."""
        self._is_refused = True
        self._guard.n_lingering += 1
        self.transport.write(_written(error))
        if self._guard.n_lingering > MOST_LINGERING:
            self.transport.close()
            return
        self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.close)


def _written(error: AnymodalError) -> bytes:
    """An answer as it goes over the wire, after which the connection ends."""
    answer = error_answer(error)
    head = [b"HTTP/1.1 %d \r\n" % answer.status_code]
    head += [b"%s: %s\r\n" % pair for pair in answer.raw_headers]
    return b"".join([*head, b"connection: close\r\n\r\n", bytes(answer.body)])
