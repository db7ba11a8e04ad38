"""Chips of what was understood, and boxes of what was read."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.acts import hits, results, search

FRAME = """async () => {
  const { framed } = await import("/js/framed.js");
  const canvas = Object.assign(document.createElement("canvas"), { width: 200, height: 100 });
  const blob = await new Promise((done) => canvas.toBlob(done));
  const image = Object.assign(new Image(400, 400), { src: URL.createObjectURL(blob) });
  image.style.objectFit = "contain";
  const box = [0.25, 0.5, 0.75, 0.5, 0.75, 1, 0.25, 1];
  const frame = framed(image, [{ boxes: [box] }, {}]);
  document.body.replaceChildren(frame);
  frame.style.width = "400px";
  await image.decode();
  await new Promise(requestAnimationFrame);
  const home = image.getBoundingClientRect();
  const { x, y, width, height } = frame.querySelector("polygon").getBoundingClientRect();
  return [x - home.x, y - home.y, width, height];
}"""


def test_a_date_and_a_place_come_first_become_filters_and_words(page: Page) -> None:
    search(page, "an animal in München, May 2024")
    chips = page.locator("#understood li")
    expect(chips).to_have_text(["Date: 1 May 2024 to 31 May 2024", "Place: München"])
    expect(hits(page).first.locator("h3")).to_have_text("cat")
    expect(hits(page).nth(1)).to_be_attached()

    date = page.get_by_role("button", name="Date: 1 May 2024 to 31 May 2024")
    expect(date).to_have_attribute("aria-pressed", "false")
    date.click()
    expect(hits(page)).to_have_count(1)
    expect(date).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_url(re.compile("only=date"))
    assert Axe().run(page).violations_count == 0
    date.click()
    expect(date).to_have_attribute("aria-pressed", "false")
    expect(hits(page).nth(1)).to_be_attached()

    page.get_by_role("button", name="Search for “May 2024” as words").click()
    expect(chips).to_have_text(["Place: München"])
    expect(page).to_have_url(re.compile("literal=date"))
    page.get_by_role("button", name="Search for “in München” as words").click()
    expect(chips).to_have_count(0)


def test_a_question_that_is_only_a_date_lists_what_has_it(page: Page) -> None:
    search(page, "photos from 2024")
    expect(page.locator("#understood li")).to_have_text(["Date: 1 Jan 2024 to 31 Dec 2024"])
    expect(hits(page)).to_have_count(1)
    expect(hits(page).first.locator("h3")).to_have_text("cat")
    expect(page.get_by_text("Nothing stands out.")).to_be_hidden()


def test_what_nobody_took_stays_words(page: Page) -> None:
    search(page, "an animal in May 2019")
    results(page)
    expect(page.locator("#understood")).to_be_hidden()


def test_boxes_lie_on_the_text_of_a_picture(page: Page) -> None:
    """The 2:1 picture is in the middle of a square."""
    page.goto("/")
    expect(hits(page).first).to_be_visible()  # no pending request may miss what FRAME removes
    assert page.evaluate(FRAME) == pytest.approx([100, 200, 200, 100], abs=2)
