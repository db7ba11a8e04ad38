"""The pictures of the page in docs/images, which `make screenshots` takes; no tests."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.browser.acts import paste, results, search, until
from tests.browser.library import sample
from tests.browser.server import Server

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
MAX_BYTES = 120_000
PHONE: ViewportSize = {"width": 390, "height": 844}
LOADING = """[...document.images].filter((one) => {
    const { top, bottom } = one.getBoundingClientRect();
    return !one.complete && bottom >= 0 && top <= innerHeight;
})"""


def take(page: Page, path: Path) -> None:
    """Save a WebP of the visible page, once all pictures are loaded and nothing moves."""
    try:
        until(page, f"!{LOADING}.length")
    except AssertionError as error:
        left = page.evaluate(f"{LOADING}.map((one) => one.closest('.hit, dialog')?.outerHTML)")
        raise AssertionError(f"pictures that do not come: {left}") from error
    page.wait_for_load_state("networkidle")
    page.evaluate("document.documentElement.style.scrollbarGutter = 'auto'")  # a picture has none
    png = page.screenshot(animations="disabled", caret="hide")
    Image.open(io.BytesIO(png)).save(path, quality=82, method=6)
    assert 5_000 < path.stat().st_size < MAX_BYTES


def test_desktop(page: Page, library: Path) -> None:
    search(page, "a ticking clock")
    page.locator(".hit").nth(1).hover()
    page.locator("#words").blur()
    take(page, IMAGES / "page-light.webp")

    page.emulate_media(color_scheme="dark")
    search(page, "at what time does it leave?")
    paste(page, [sample(library, "wall-clock.png")])
    expect(page.locator(".chip img")).to_be_visible()
    results(page)
    page.locator("#timing").click()
    take(page, IMAGES / "page-dark.webp")


def test_detail(page: Page) -> None:
    search(page, "a rocket takes off into space")
    page.locator(".hit.video a.open").click()
    until(page, "document.querySelector('dialog video')?.readyState >= 2")
    page.get_by_role("dialog").get_by_text("how it was computed").click()
    expect(page.locator(".why")).to_contain_text("Cosine")
    page.wait_for_timeout(1_000)  # until the player no longer shows that it is loading
    take(page, IMAGES / "page-detail.webp")


def test_phone(chromium: Browser, server: Server) -> None:
    context = chromium.new_context(
        base_url=server.url, viewport=PHONE, device_scale_factor=2, is_mobile=True, has_touch=True
    )
    page = context.new_page()
    search(page, "a ticking clock")
    page.evaluate("document.activeElement.blur()")
    page.evaluate("scrollTo(0, 0)")
    take(page, IMAGES / "page-phone.webp")
    context.close()


def test_latency(page: Page, library: Path) -> None:
    picture = base64.b64encode(sample(library, "cat.png").read_bytes()).decode()
    for n in range(60):
        query = [{"text": f"a picture of {n} birds"}] if n % 5 else [{"image": picture}]
        assert page.request.post("/v1/search", data={"query": query}).ok
    page.goto("/?view=latency")
    expect(page.locator(".trend")).to_be_visible()
    page.wait_for_timeout(8_000)  # for a line that is more than two points
    take(page, IMAGES / "page-latency.webp")
