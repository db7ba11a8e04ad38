"""The socket that the API listens at."""

from __future__ import annotations

import socket

from search.api.server import listening_socket


def test_an_answer_does_not_wait_for_the_client_to_acknowledge_its_head() -> None:
    with (
        listening_socket("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
