"""A TCP proxy that cuts, stalls and delays what passes through it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from threading import Thread
from typing import Any

_CHUNK_BYTES = 2**16


class Proxy:
    """Listens on its own port and forwards to another; runs in a thread.

    Args:
        port: where it listens; 0 for any that is free.
        target: the port behind it, on this machine.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._delay_s = 0.0
        self._refuses = False
        self._links: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._thread = Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", port))
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break all connections, and refuse new ones until `mend`."""
        self._refuses = True
        self._call(self._break)

    def stall(self) -> None:
        """Keep the connections, and let nothing through until `mend`."""
        self._call(self._open.clear)

    def delay(self, seconds: float) -> None:
        """Let everything through with a delay until `mend`."""
        self._delay_s = seconds

    def mend(self) -> None:
        """Let everything through without delay."""
        self._refuses = False
        self._delay_s = 0.0
        self._call(self._open.set)

    def close(self) -> None:
        """End it."""
        self._run(self._end())
        self._call(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        self._break()
        mine = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not mine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._links |= {writer, back}
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        self._links -= {writer, back}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await asyncio.sleep(self._delay_s)
                await self._open.wait()
                writer.write(chunk)
                await writer.drain()
        writer.close()

    def _break(self) -> None:
        for writer in list(self._links):
            writer.transport.abort()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _call(self, what: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(what)
