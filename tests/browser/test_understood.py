"""Chips of what was understood, and boxes of what was read."""

from __future__ import annotations

import re

import pytest
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


def test_a_date_and_a_place_can_be_taken_off(page: Page) -> None:
    search(page, "an animal in München, May 2024")
    expect(hits(page)).to_have_count(1)
    chips = page.locator("#understood li")
    expect(chips).to_have_text(["Taken from 1 May 2024 to 31 May 2024", "Place: München"])
    expect(hits(page).first.locator("h3")).to_have_text("cat")

    page.get_by_role("button", name="Search for “May 2024” as words").click()
    expect(chips).to_have_text(["Place: München"])
    expect(page).to_have_url(re.compile("literal=date"))
    page.get_by_role("button", name="Search for “in München” as words").click()
    expect(chips).to_have_count(0)
    results(page)
    expect(hits(page).nth(1)).to_be_visible()

    page.get_by_role("searchbox").fill("an animal 2024")
    page.get_by_role("searchbox").press("Enter")
    expect(chips).to_have_text(["Taken from 1 Jan 2024 to 31 Dec 2024"])


def test_what_nobody_took_stays_words(page: Page) -> None:
    search(page, "an animal in May 2019")
    results(page)
    expect(page.locator("#understood")).to_be_hidden()


def test_boxes_lie_on_the_text_of_a_picture(page: Page) -> None:
    """The 2:1 picture is in the middle of a square."""
    page.goto("/")
    expect(hits(page).first).to_be_visible()  # no pending request may miss what FRAME removes
    assert page.evaluate(FRAME) == pytest.approx([100, 200, 200, 100], abs=2)
