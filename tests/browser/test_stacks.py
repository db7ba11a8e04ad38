"""A burst is one tile; its number opens the other shots beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.acts import hits, search
from tests.browser.server import Server, serving
from tests.browser.watch import tab
from tests.support.media import picture, shot_of

N_SHOTS = 4


@pytest.fixture(scope="module")
def burst(tmp_path_factory: pytest.TempPathFactory, bundle_home: Path) -> Iterator[Server]:
    """A server over a burst and two other pictures."""
    assert bundle_home.is_dir()
    library = tmp_path_factory.mktemp("burst")
    for n in range(N_SHOTS):
        exif = Image.Exif()
        exif[0x0110] = "Camera"
        exif.get_ifd(0x8769)[0x9003] = f"2024:05:17 18:30:{n:02}"
        shot = Image.fromarray(shot_of(picture(seed=1), n))
        shot.save(library / f"shot-{n}.jpg", exif=exif)
    for n in (2, 3):
        Image.fromarray(picture(seed=n)).save(library / f"other-{n}.jpg")
    with serving(tmp_path_factory.mktemp("served"), library) as server:
        yield server


@pytest.fixture
def page(chromium: Browser, burst: Server) -> Iterator[Page]:
    """A fresh tab on the page."""
    with tab(chromium, burst) as page:
        yield page


def assets(page: Page) -> list[str]:
    return list(hits(page).evaluate_all("cards => cards.map(card => card.dataset.asset)"))


def test_the_number_on_a_tile_opens_the_other_shots_beside_it(page: Page) -> None:
    search(page, "colours")
    expect(hits(page)).to_have_count(3)
    before = assets(page)
    number = page.get_by_role("button", name="3 more shots of it")
    expect(number).to_have_text("+3")
    number.press("Enter")
    expect(hits(page)).to_have_count(2 + N_SHOTS)
    expect(number).to_be_focused()
    expect(number).to_have_attribute("aria-expanded", "true")
    opened = assets(page)
    assert len(set(opened)) == 2 + N_SHOTS
    first = next(place for place, one in enumerate(opened) if before[place : place + 1] != [one])
    assert opened[first - 1] == before[first - 1]  # the others stand behind their best
    number.click()
    expect(hits(page)).to_have_count(3)
    assert assets(page) == before

    number.click()
    hits(page).nth(first).locator("a.open").click()
    expect(page.get_by_role("dialog").get_by_role("heading", level=2)).to_contain_text("shot-")
    page.keyboard.press("Escape")


def test_without_its_best_a_stack_stays(page: Page) -> None:
    search(page, "colours")
    best = page.locator(".hit.stack")
    best.hover()
    best.get_by_role("button", name="Select").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(hits(page)).to_have_count(1 + N_SHOTS)
    page.get_by_role("button", name="Undo").click()
    expect(hits(page)).to_have_count(3)


def test_the_library_shows_a_burst_as_one_tile_too(page: Page) -> None:
    page.goto("/")
    expect(hits(page)).to_have_count(3)
    page.get_by_role("button", name="3 more shots of it").click()
    expect(hits(page)).to_have_count(2 + N_SHOTS)
    last = hits(page).last
    expect(last).to_contain_text("shot-")  # of May 2024, older than what was made just now
    expect(page.locator("#heads p")).to_have_count(2)
    expect(page.locator("#heads p").last).to_have_text("May 2024")
