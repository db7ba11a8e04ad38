"""What a person does in the page, and what they see."""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import JSHandle, Locator, Page, ViewportSize, expect

DESKTOP: ViewportSize = {"width": 1440, "height": 900}
HEIGHTS = "(bars) => new Set(bars.flatMap((one) => one.getAttribute('d').match(/ [^M]+/g))).size"
"""How many different heights the bars of the waveforms have, `M2 48V52` each."""


def draw(page: Page) -> None:
    """Answer with a picture for every file that is listed."""
    card = '<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"/>'
    page.route(
        "**/thumbnail?**", lambda route: route.fulfill(content_type="image/svg+xml", body=card)
    )


def search(page: Page, words: str) -> None:
    """Type words and wait for the results."""
    page.goto("/")
    page.get_by_role("searchbox").fill(words)
    page.get_by_role("searchbox").press("Enter")
    results(page)


def answered(page: Page) -> None:
    """Wait for the answer to a question; weaker matches stay folded."""
    expect(page.locator("html")).to_contain_class("asked")
    expect(page.locator("#hits")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#summary-text")).to_contain_text(re.compile("result|stands out"))


def results(page: Page) -> None:
    """Wait for the answer to a question, and show the weaker matches too."""
    answered(page)
    weaker = page.get_by_role("button", name="weaker match")
    if weaker.is_visible():
        weaker.click()
        drawn(page)


def drawn(page: Page) -> None:
    """Wait for what a click changes: some clicks are shown at once and drawn after that frame."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    expect(page.locator("#hits")).to_have_attribute("aria-busy", "false")


def until(page: Page, condition: str) -> None:
    """Wait until a JavaScript expression holds. (The CSP blocks Playwright's own wait.)"""
    for _ in range(2400):  # the server itself can take 30 s to report a failure
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not within 2 min: {condition}")


def hits(page: Page) -> Locator:
    """The cards."""
    return page.get_by_role("feed").get_by_role("article")


def titles(page: Page) -> list[str]:
    """The cards' titles, best first."""
    return hits(page).locator("h3").all_text_contents()


def kinds(page: Page) -> set[str]:
    """The kinds of file among the cards."""
    return set(hits(page).evaluate_all("cards => cards.map(card => card.dataset.kind)"))


def drop(page: Page, where: str, files: Sequence[Path]) -> None:
    """Drag files over the page and let go of them over ``where``: search or add."""
    data = _transfer(page, files)
    page.locator("body").dispatch_event("dragenter", {"dataTransfer": data})
    target = page.locator(f"[data-drop={where}]")
    expect(target).to_be_visible()
    target.dispatch_event("dragover", {"dataTransfer": data})
    target.dispatch_event("drop", {"dataTransfer": data})


def paste(page: Page, files: Sequence[Path]) -> None:
    """Paste files."""
    page.evaluate(
        """data => document.body.dispatchEvent(
            new ClipboardEvent("paste", {clipboardData: data, bubbles: true}))""",
        _transfer(page, files),
    )


def _transfer(page: Page, files: Sequence[Path]) -> JSHandle:
    """A DataTransfer that holds the files."""
    described = [
        {
            "name": file.name,
            "type": mimetypes.guess_type(file.name)[0] or "",
            "bytes": base64.b64encode(file.read_bytes()).decode(),
        }
        for file in files
    ]
    return page.evaluate_handle(
        """files => {
            const data = new DataTransfer();
            for (const {name, type, bytes} of files) {
                const content = Uint8Array.from(atob(bytes), (char) => char.charCodeAt(0));
                data.items.add(new File([content], name, {type}));
            }
            return data;
        }""",
        described,
    )
