"""Messages over a pair of pipes: a small JSON object, and bytes.

Not pickle: a decoder taken over by a hostile file must not run code in the parent.
"""

from __future__ import annotations

import json
import os
import select
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

_LENGTHS = struct.Struct(">IQ")
_MAX_HEAD_BYTES = 2**20


@dataclass(frozen=True)
class Message:
    """``head`` is JSON; ``payload`` holds raw bytes."""

    head: Mapping[str, Any]
    payload: bytes | bytearray | memoryview = b""


class Channel:
    """One end of a pair of pipes.

    Args:
        read_fd: the pipe to read from.
        write_fd: the pipe to write to.
        max_payload: the most bytes of a payload.
    """

    def __init__(self, read_fd: int, write_fd: int, max_payload: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._max_payload = max_payload
        self._poll = select.poll()
        self._poll.register(read_fd, select.POLLIN)

    def send(self, message: Message) -> None:
        """Write a message; waits while the pipe is full. Raises BrokenPipeError."""
        head = json.dumps(message.head).encode()
        _write(self._write_fd, _LENGTHS.pack(len(head), len(message.payload)) + head)
        _write(self._write_fd, message.payload)

    def has_come(self, timeout_s: float) -> bool:
        """Whether a message begins to arrive within this time, or the other end is closed."""
        return bool(self._poll.poll(max(0.0, timeout_s) * 1000))

    def receive(self, timeout_s: float | None = None) -> Message:
        """Read a message.

        Raises:
            TimeoutError: no message in time.
            EOFError: the other end is closed.
            ValueError: malformed message.
        """
        deadline = None if timeout_s is None else monotonic() + timeout_s
        n_head, n_payload = _LENGTHS.unpack(self._read(_LENGTHS.size, deadline))
        if n_head > _MAX_HEAD_BYTES or n_payload > self._max_payload:
            raise ValueError(f"A message of {n_head:,} and {n_payload:,} bytes.")
        head = json.loads(self._read(n_head, deadline))
        if not isinstance(head, dict):
            raise ValueError("A message without a head.")
        return Message(head, self._read(n_payload, deadline))

    def close(self) -> None:
        """Close both pipes."""
        os.close(self._read_fd)
        os.close(self._write_fd)

    def _read(self, size: int, deadline: float | None) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            wait_ms = None if deadline is None else max(0.0, deadline - monotonic()) * 1000
            if not self._poll.poll(wait_ms):
                raise TimeoutError
            n_read = os.readv(self._read_fd, [view])
            if not n_read:
                raise EOFError
            view = view[n_read:]
        return data


def _write(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
