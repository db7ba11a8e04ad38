"""`anymodal.connect`: the client of a server, or the same client over a store in this process."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal

from search.client import Anymodal


def connect(where: str | Path | None = None, key: str | None = None) -> Anymodal:
    """A client; close it, or use it in ``with``.

    Args:
        where: the URL of a running `anymodal serve`; or the folder of a store, which this process
            then opens with its model, without a server. None is the store of the settings, which
            may be on a Milvus server.
        key: for a server that needs one.

    Raises:
        ModelError: the model of a store cannot be loaded.
        StoreBusyError: another process holds a FILE.db.
    """
    if str(where).startswith(("http://", "https://")):
        return Anymodal(str(where), key)
    return Anymodal("http://localhost", transport=_InProcess(where))


class _InProcess(httpx2.BaseTransport):
    """Hands requests to the application, whose event loop runs in a thread of its own."""

    def __init__(self, store: str | Path | None) -> None:
        from search.api.app import create_app
        from workers.config import current_settings
        from workers.serving.composition import services
        from workers.serving.resources import Resources

        chosen = {} if store is None else {"store": str(store)}
        # nobody else can send it requests
        settings = current_settings()
        api = settings.api.model_copy(update={"require_key": False, "allow_no_key": True})
        self._open = ExitStack()
        with ExitStack() as opening:
            resources = Resources(settings.model_copy(update={"api": api, **chosen}))
            app = create_app(opening.enter_context(services(resources)))
            self._portal: BlockingPortal = opening.enter_context(start_blocking_portal())
            self._open = opening.pop_all()
        self._application = httpx2.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._portal.call(
            self._answer,
            httpx2.Request(
                request.method, request.url, headers=request.headers, content=request.read()
            ),
        )

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._application.handle_async_request(request)
        body = b"".join([chunk async for chunk in answer.aiter_raw()])
        return httpx2.Response(answer.status_code, headers=answer.headers, content=body)

    def close(self) -> None:
        self._open.close()
