"""A list of several pages: how many there are, in another order, and all of them picked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.acts import answered, hits
from tests.browser.server import Server, serving

FLOURS = "rye wheat spelt oat maize barley millet rice".split()
OVENS = "stone gas clay iron electric solar".split()
N_NOTES = len(FLOURS) * len(OVENS)  # so few that the page keeps a card for each
OTHERS = ("The tide tables of Brest.", "A lease for two rooms.")
N_OTHERS = len(OTHERS)
DAY_S = 86_400


@pytest.fixture(scope="module")
def server(bundle_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over notes that answer, of many dates and sizes, and some that do not."""
    assert bundle_home.is_dir()
    library = tmp_path_factory.mktemp("notes")
    for number in range(N_NOTES):
        flour, oven = FLOURS[number % len(FLOURS)], OVENS[number // len(FLOURS)]
        note = library / f"note{number:02}.txt"
        note.write_text(f"Bake bread: {flour} flour, {oven} oven." + " It is good." * (number % 7))
        os.utime(note, (1.7e9 + (number * 37 % 61) * DAY_S,) * 2)
    for number, other in enumerate(OTHERS):
        (library / f"other{number}.txt").write_text(other)
    with serving(tmp_path_factory.mktemp("served"), library) as server:
        yield server


def all_names(page: Page) -> list[str]:
    """What the tiles are called, of both pages."""
    page.locator("#more").click()
    expect(hits(page)).to_have_count(N_NOTES)
    return hits(page).locator("h3").all_inner_texts()


def test_the_list_says_how_many_there_are_and_sorts_all_of_them(page: Page) -> None:
    page.goto("/?q=bake bread")
    answered(page)
    expect(page.locator("#summary-text")).to_contain_text(f"{N_NOTES} results, in 2 pages")
    order = page.get_by_role("combobox", name="Order")
    for chosen, place in (
        ("By name", lambda n: n),
        ("Newest first", lambda n: -(n * 37 % 61)),
        (
            "Largest first",
            lambda n: -len(OVENS[n // len(FLOURS)] + FLOURS[n % len(FLOURS)]) - 12 * (n % 7),
        ),
    ):
        order.select_option(chosen)
        answered(page)
        expect(page.locator("#summary-text")).to_contain_text(f"{N_NOTES} results, in 2 pages")
        names = all_names(page)
        numbers = [int(name[4:6]) for name in names if re.match(r"note\d\d", name)]
        assert len(set(numbers)) == N_NOTES
        places = [place(number) for number in numbers]
        assert places == sorted(places)
    assert Axe().run(page).violations_count == 0


def test_all_of_the_list_are_picked_tagged_and_saved(page: Page, server: Server) -> None:
    page.goto("/?q=bake bread")
    answered(page)
    hits(page).first.locator(".pick").click()
    bar = page.get_by_role("region", name="Selection")
    bar.get_by_role("button", name="Select all").click()
    expect(bar).to_contain_text(f"{N_NOTES} files selected")
    assert Axe().run(page).violations_count == 0
    bar.get_by_role("button", name="Tags").click()
    bar.get_by_role("combobox", name="Tag").fill("baking")
    bar.get_by_role("button", name="Add tag").click()
    expect(bar).to_contain_text(f"{N_NOTES} files tagged", timeout=120_000)
    tagged = '{"field": "tags", "contains": "baking"}'
    with httpx.Client(base_url=server.url, timeout=60) as client:
        answer = client.get("/v1/assets", params={"filter": tagged, "limit": 1000})
    assert len(answer.json()["assets"]) == N_NOTES

    page.goto("/")
    hits(page).first.locator(".pick").click()
    bar.get_by_role("button", name="Select all").click()
    expect(bar).to_contain_text(f"{N_NOTES + N_OTHERS} files selected")
    page.goto("/?q=tide tables of Brest")
    answered(page)
    hits(page).first.locator(".pick").click()
    with page.expect_download() as saved:
        bar.get_by_role("button", name="Download").click()
    assert saved.value.path().read_text() == "The tide tables of Brest."
    assert saved.value.suggested_filename == "other0.txt"
