"""The Latency view."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.acts import search


def test_stages_and_kinds_of_query_over_windows(page: Page) -> None:
    search(page, "bread")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Latency").click()
    stages = page.get_by_role("figure").filter(has_text="Stages")
    for stage in ("encode text", "search", "fuse"):
        row = stages.get_by_role("row", name=stage).first
        expect(row).to_contain_text("ms")
    by_kind = page.get_by_role("figure").filter(has_text="By kind of query")
    expect(by_kind.get_by_role("rowheader", name="text")).to_be_visible()
    names = stages.get_by_role("rowheader").all_text_contents()
    order = ["queue", "decode", "plan", "encode text", "search", "lexical", "fuse", "fetch"]
    assert [name for name in names if name in order] == order  # as they run
    expect(stages.locator(".ticks")).to_contain_text("1 ms")
    bars = stages.locator("rect").evaluate_all("bars => bars.map(bar => bar.getBBox().width)")
    assert min(bars) > 0

    expect(page.locator("#slo")).to_be_hidden()  # nobody has set an aim

    page.get_by_role("button", name="1 hour").click()
    expect(page.get_by_role("button", name="1 hour")).to_have_attribute("aria-pressed", "true")
    requests = page.locator(".totals dd").last
    before = int(requests.inner_text().replace(",", ""))
    page.evaluate(
        """() => fetch("/v1/search", {method: "POST", body: JSON.stringify({query: "coffee"}),
            headers: {"Content-Type": "application/json"}})"""
    )
    expect(requests).to_have_text(f"{before + 1:,}")  # by itself
