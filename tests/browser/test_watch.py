"""The watcher itself: what it reports about a refused request."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.browser.server import Server
from tests.browser.watch import Watch


def test_what_was_refused_is_named_with_its_answer(chromium: Browser, server: Server) -> None:
    context = chromium.new_context(base_url=server.url)
    page = context.new_page()
    watch = Watch(page, server.url, ())
    page.goto("/")
    page.evaluate("fetch('v1/assets/of-nobody/thumbnail').then((answer) => answer.text())")
    while "There is no asset" not in str(watch._wrong):  # pytest's time limit ends it
        page.wait_for_timeout(20)
    page.reload()  # Chromium forgets the answer with the document
    with pytest.raises(AssertionError) as told:
        watch.__exit__(None)
    context.close()
    assert f"GET {server.url}/v1/assets/of-nobody/thumbnail: status of 404: " in str(told.value)
    assert "There is no asset 'of-nobody'." in str(told.value)
