"""What must never happen in the page: errors in its console, requests to other hosts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, Response

from tests.browser.acts import DESKTOP
from tests.browser.server import Server

_TOLD_CHARS = 500
_ABORTED = "net::ERR_ABORTED"  # the page itself cancelled it


class Watch:
    """Notes what goes wrong in a tab, and fails when it is left.

    Args:
        page: the tab.
        url: the only server to which requests may go.
        expected: parts of messages that a test provokes.
    """

    def __init__(self, page: Page, url: str, expected: Sequence[str]) -> None:
        self.expected = expected  # filled by the test as it runs
        self._url = url
        self._wrong: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._wrong.append(f"error: {error}"))
        page.on("request", self._on_request)
        page.on("response", self._on_response)
        page.on("requestfailed", self._on_failure)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            wrong = [text for text in self._wrong if not any(e in text for e in self.expected)]
            if wrong:
                raise AssertionError("\n".join(wrong))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._wrong.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self._url, f"blob:{self._url}", "data:")):
            self._wrong.append(f"request: {request.url}")

    def _on_response(self, response: Response) -> None:
        """Name what was refused: the console has only the status."""
        if response.status < 400:
            return
        place = len(self._wrong)
        told = f"{_named(response.request)}: status of {response.status}"
        self._wrong.append(told)
        # Read at once, since Chromium forgets it with the document. Meanwhile the test goes on.
        self._wrong[place] = f"{told}: {_body_of(response)}"

    def _on_failure(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self._wrong.append(f"{_named(request)}: {request.failure}")


@contextmanager
def tab(
    browser: Browser, server: Server, expected: Sequence[str] = (), **options: Any
) -> Iterator[Page]:
    """A fresh tab on the page of a server; afterwards nothing may have gone wrong in it."""
    usual: dict[str, Any] = {"viewport": DESKTOP, "locale": "en-GB"}
    context = browser.new_context(base_url=server.url, **usual | options)
    page = context.new_page()
    page.set_default_timeout(30_000)
    with Watch(page, server.url, expected):
        yield page
    context.close()


def _named(request: Request) -> str:
    return f"{request.method} {request.url}"


def _body_of(response: Response) -> str:
    try:
        return response.text()[:_TOLD_CHARS]
    except (Error, UnicodeDecodeError) as error:
        return f"(its body cannot be read: {error})"
