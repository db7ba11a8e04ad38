"""A slow network and a slow machine, on which whatever works only by luck fails."""

from __future__ import annotations

from contextlib import suppress
from random import Random

from playwright.sync_api import Browser, BrowserContext, Error, Page, Route

_LONGEST_MS = {"/v1/info": 3_000, "/v1/": 1_500, "": 200}
"""The longest delay of a request, by the first of these strings that its URL contains."""


def slow_down(browser: Browser, seed: int | None, throttle: float) -> None:
    """Slow the tabs of a browser down.

    Args:
        browser: whose tabs are opened from now on.
        seed: for the random delays of requests; None adds no delays. Requests that a test
            itself routes are not delayed.
        throttle: how many times slower the processor is.
    """
    random = Random(seed)

    def late(route: Route) -> None:
        url = route.request.url
        most = next(ms for part, ms in _LONGEST_MS.items() if part in url)
        with suppress(Error):  # its document was left, or its tab was closed
            route.request.frame.page.wait_for_timeout(random.uniform(0, most))
        with suppress(Error):
            route.continue_()

    def throttled(page: Page) -> None:
        session = page.context.new_cdp_session(page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": throttle})

    def slowed(context: BrowserContext) -> None:
        if seed is not None:
            context.route("**/*", late)
        if throttle > 1:
            context.on("page", throttled)

    browser.on("context", slowed)
