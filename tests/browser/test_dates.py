"""The dates of the library on a strip."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.acts import hits


def test_a_strip_of_months_leads_through_the_library(page: Page) -> None:
    """All files but the picture of May 2024 were made today."""
    page.goto("/")
    strip = page.get_by_role("slider", name="Date")
    expect(strip).to_have_attribute("aria-valuemax", "1")
    expect(hits(page).last).to_contain_text("cat")
    everything = hits(page).count()  # other tests leave files behind
    strip.press("End")
    expect(strip).to_have_attribute("aria-valuetext", "May 2024, 1 file")
    expect(hits(page)).to_have_count(1)
    expect(hits(page).first).to_contain_text("cat")
    expect(page.locator("#narrowed li")).to_have_text("From May 2024 back")
    assert Axe().run(page).violations_count == 0
    strip.press("Home")
    expect(hits(page)).to_have_count(everything)
    expect(hits(page).last).to_contain_text("cat")

    box = strip.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 8, box["y"] + box["height"] - 2)
    expect(hits(page)).to_have_count(1)
    page.get_by_role("button", name="Take off the filter").click()
    expect(hits(page)).to_have_count(everything)
    page.get_by_role("searchbox").fill("bread")
    page.get_by_role("searchbox").press("Enter")
    expect(strip).to_be_hidden()
