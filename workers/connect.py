"""`anymodal.connect`: the client of a server, or the same client over a store in this process."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import httpx2

from search.client import Anymodal


def connect(
    where: str | Path | None = None, key: str | None = None, *, create: bool = False
) -> Anymodal:
    """A client; close it, use it in ``with``, or let it end with the process.

    Args:
        where: the URL of a running `anymodal serve`; or the folder of a store, which this process
            then opens with its model, without a server. None is the store of the settings, which
            may be on a Milvus server.
        key: for a server that needs one.
        create: make the store if there is none, to upload to.

    Raises:
        StoreMissingError: there is no store there.
        ModelError: the model of a store cannot be loaded.
        StoreBusyError: another process holds a FILE.db.
    """
    if str(where).startswith(("http://", "https://")):
        return Anymodal(str(where), key)
    return Anymodal("http://localhost", transport=_InProcess(where, create=create))


class _InProcess(httpx2.BaseTransport):
    """Hands requests to the application, whose event loop runs in a thread of its own."""

    def __init__(self, store: str | Path | None, *, create: bool) -> None:
        from search.api.app import create_app
        from workers.config import current_settings
        from workers.serving.composition import services
        from workers.serving.resources import Resources

        chosen = {} if store is None else {"store": str(store)}
        # nobody else can send it requests
        settings = current_settings()
        api = settings.api.model_copy(update={"require_key": False, "allow_no_key": True})
        resources = Resources(settings.model_copy(update={"api": api, **chosen}))
        with ExitStack() as opening:
            if not create and resources.settings.store != "memory:":
                opening.callback(resources.close)
                resources.existing_store()
            app = create_app(opening.enter_context(services(resources)))
            self._loop = opening.enter_context(_running_loop())
            # also at the end of a process that does not close it
            self._close = weakref.finalize(self, opening.pop_all().close)
        self._application = httpx2.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        sent = httpx2.Request(
            request.method, request.url, headers=request.headers, content=request.read()
        )
        return asyncio.run_coroutine_threadsafe(self._answer(sent), self._loop).result()

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._application.handle_async_request(request)
        body = b"".join([chunk async for chunk in answer.aiter_raw()])
        return httpx2.Response(answer.status_code, headers=answer.headers, content=body)

    def close(self) -> None:
        self._close()


@contextmanager
def _running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread that does not keep the process alive, until the block ends."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="anymodal", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
