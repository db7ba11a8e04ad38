"""The API at a Unix socket of the server's user."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from search.api.services import Services
from tests.integration.api.conftest import served
from workers.beside.place import short_name, socket_path
from workers.beside.server import own_sockets


def answer(path: Path) -> bytes:
    """An answer over a socket; empty if the connection was ended without one."""
    with (
        short_name(path) as name,
        socket.socket(socket.AF_UNIX) as peer,
        suppress(ConnectionError),
    ):
        peer.connect(name)
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
        with peer.makefile("rb") as stream:
            return stream.read()
    return b""


def test_only_the_servers_user_is_answered(
    parts: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deep" / ("folder" * 20) / "store"  # longer than a socket's name may be
    path = socket_path(str(folder))
    assert path is not None
    with own_sockets(str(folder)) as sockets, served(parts, *sockets):
        assert answer(path).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        assert answer(path) == b""
        monkeypatch.undo()
        assert answer(path).startswith(b"HTTP/1.1 200")
    assert not path.exists()


def test_a_server_without_a_place_for_a_socket_serves_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for store in ("memory:", str(tmp_path / "file" / "store")):
        with own_sockets(store) as sockets:
            assert sockets == []


def test_a_later_server_replaces_a_socket_and_keeps_its_own(tmp_path: Path) -> None:
    path = socket_path(str(tmp_path / "store"))
    assert path is not None
    with own_sockets(str(tmp_path / "store")) as first:
        with own_sockets(str(tmp_path / "store")) as second:
            assert len(first) == len(second) == 1
            assert path.stat().st_mode & 0o777 == 0o600
        assert not path.exists()
    with own_sockets("http://localhost:19530"):
        assert (name := socket_path("http://LOCALHOST:19530/default")) is not None
        assert name.exists()
