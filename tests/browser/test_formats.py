"""Files that a browser cannot show by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.acts import drop, hits, results, until
from tests.browser.library import sample
from tests.media import write_heic


def add(page: Page, file: Path) -> None:
    """Drop a file into the library."""
    page.goto("/?view=add")
    drop(page, "add", [file])
    expect(page.locator(".job").first).to_contain_text("1 added", timeout=60_000)


def remove(dialog: Locator) -> None:
    """Take what is open out of the library."""
    dialog.get_by_role("button", name="Remove").click()
    dialog.get_by_role("button", name="Remove from the library?").click()
    expect(dialog).to_be_hidden()


def test_a_phone_s_heic_is_seen_and_searched_with(
    page: Page, library: Path, tmp_path: Path
) -> None:
    clock = np.array(Image.open(sample(library, "wall-clock.png")).convert("RGB"))
    photo = write_heic(tmp_path / "IMG_0042.HEIC", clock, 6, 256)
    add(page, photo)
    page.goto("/")
    drop(page, "search", [photo])
    results(page)
    expect(page.locator(".chip")).to_have_count(1)
    expect(page.locator(".chip svg").first).to_be_visible()
    expect(page.locator(".chip img")).to_have_count(0)
    expect(hits(page).first.locator("h3")).to_have_text("IMG_0042")
    until(page, "document.querySelector('.hit img').naturalWidth > 0")

    page.locator(".hit a.open").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("image/heic")
    until(page, "document.querySelector('dialog img').naturalHeight > 0")
    upright = "(img => img.naturalHeight / img.naturalWidth)(document.querySelector('dialog img'))"
    assert abs(page.evaluate(upright) - clock.shape[1] / clock.shape[0]) < 0.02
    remove(dialog)
