"""Counts to narrow by, and chips of what narrows."""

from __future__ import annotations

import re

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.acts import hits


def test_counts_follow_the_filter_and_become_chips(page: Page) -> None:
    page.goto("/")
    expect(hits(page).first).to_be_visible()
    page.get_by_role("button", name="Filters").click()
    facets = page.locator("#facets")
    kinds = facets.get_by_role("group", name="Kinds of file").get_by_role("button")
    counts = [re.compile(r"\D\d+$")] * 3  # other tests leave texts behind
    expect(kinds).to_have_text([*counts, "Films1"])
    kinds.filter(has_text="Pictures").press("Enter")
    expect(kinds).to_have_text(["Pictures4"])
    expect(kinds.first).to_be_focused()
    expect(kinds.first).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("checkbox", name="Pictures")).to_be_checked()
    expect(hits(page)).to_have_count(4)

    town = facets.get_by_role("group", name="Towns").get_by_role("button")
    expect(town).to_have_text(re.compile("^Munich1$|^München1$"))
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    town.click()
    expect(hits(page)).to_have_count(1)
    chip = page.locator("#narrowed li")
    expect(chip).to_have_text(re.compile("Place: M"))
    page.reload()  # the URL has the filter
    expect(hits(page)).to_have_count(1)
    page.get_by_role("button", name="Remove the filter").press("Enter")
    expect(chip).to_have_count(0)
    expect(page.get_by_role("searchbox")).to_be_focused()
    expect(hits(page)).to_have_count(4)
