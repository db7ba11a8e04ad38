"""Clients that misbehave: plain sockets, over loopback only."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import httpx

from search.jobs import FailedFile, Job

SILENCE = b""
HALF_HEAD = b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: "


class Endless:
    """Jobs that never end, whose events go on as long as they are followed."""

    def status(self, job_id: str) -> Job:
        """The status of any job."""
        return Job(job_id, "running", 1.0, 0.0, n_files=1)

    def failures(self, _job_id: str) -> list[FailedFile]:
        """None."""
        return []


def half_body(key: str = "") -> bytes:
    """A search whose body is incomplete."""
    head = {"Content-Type": "application/json", "Content-Length": "100000"}
    return request("POST", "/v1/search", head | bearer(key)) + b'{"query": "'


def bearer(key: str) -> dict[str, str]:
    """The header with the key; none without a key."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def address(client: httpx.Client) -> tuple[str, int]:
    """Where the server of a client is."""
    assert client.base_url.port
    return client.base_url.host, client.base_url.port


def connect(client: httpx.Client, said: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    """A connection from a loopback address, after its first bytes."""
    connection = socket.create_connection(address(client), timeout=30, source_address=(source, 0))
    connection.sendall(said)
    return connection


@contextmanager
def held(client: httpx.Client, said: bytes, sources: list[str]) -> Iterator[list[socket.socket]]:
    """Connections that send this much and no more, one from each source."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect(client, said, source)) for source in sources]


def heard(connection: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def request(method: str, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode()


def hang_up(connection: socket.socket) -> None:
    """Close abruptly: the other side gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
