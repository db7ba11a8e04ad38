"""A slow network and a slow machine, in which what is right only by luck goes wrong."""

from __future__ import annotations

from contextlib import suppress
from random import Random

from playwright.sync_api import Browser, BrowserContext, Error, Page, Route

_LONGEST_MS = {"/v1/info": 3_000, "/v1/": 1_500, "": 200}
"""How late a request may be, by the first of these that is in its address."""


def slow_down(browser: Browser, seed: int | None, throttle: float) -> None:
    """Slow the tabs of a browser down.

    Args:
        browser: whose tabs are opened from now on.
        seed: of the random times by which requests are late; None leaves them as they are. What a
            test itself routes is not late.
        throttle: how many times slower the processor is.
    """
    random = Random(seed)

    def late(route: Route) -> None:
        url = route.request.url
        most = next(ms for part, ms in _LONGEST_MS.items() if part in url)
        with suppress(Error):  # its document has been left, or its tab is closed
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
