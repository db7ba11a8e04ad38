"""uvicorn's HTTP/1.1 with a `Guard`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from encoder.errors import AnymodalError
from search.api.errors import HeadTooLargeError, TooSlowError, error_answer, status_of
from search.api.wire.guard import MOST_LINGERING, Guard
from search.api.wire.pace import Pace, PaceLimits, Phase

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

_MAX_HEAD_BYTES = 64 * 1024
_LINGER_S = 1.0


class GuardedProtocol(HttpToolsProtocol):
    """One connection. The application learns in ``scope["state"]`` how it ended.

    ``hung_up`` is true there when the client has left before its answer was complete; ``cut`` is
    the status that was sent to it when the guard ended the connection.
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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection, or refuse it."""
        super().connection_made(transport)
        self.host = self.client[0] if self.client else "127.0.0.1"
        if refusal := self._guard.admit(self):
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the place, and notify the application."""
        self._guard.drop(self)
        if self._is_refused:
            self._guard.n_lingering -= 1
        if self.cycle and not self.cycle.response_complete:
            self.cycle.scope["state"]["hung_up"] = True
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
