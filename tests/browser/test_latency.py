"""The Latency view."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

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
    assert [name for name in names if name in order] == order  # in the order in which they run
    expect(stages.locator(".ticks")).to_contain_text("1 ms")
    bars = stages.locator("rect").evaluate_all("bars => bars.map(bar => bar.getBBox().width)")
    assert min(bars) > 0

    expect(page.locator("#slo")).to_be_hidden()  # no target is set

    page.get_by_role("button", name="1 hour").click()
    expect(page.get_by_role("button", name="1 hour")).to_have_attribute("aria-pressed", "true")
    requests = page.locator(".totals dd").last
    before = int(requests.inner_text().replace(",", ""))
    page.evaluate(
        """() => fetch("/v1/search", {method: "POST", body: JSON.stringify({query: "coffee"}),
            headers: {"Content-Type": "application/json"}})"""
    )
    expect(requests).to_have_text(f"{before + 1:,}")  # without a reload


def answer(n: int) -> dict[str, object]:
    total = {"n": n, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "max_ms": 4.0}
    return {"windows": {window: {"total": total} for window in ("1m", "5m", "60m")}}


def test_an_answer_that_comes_late_replaces_no_later_one(page: Page) -> None:
    asked: list[Route] = []

    def wait_for(n: int) -> None:
        while len(asked) < n:
            page.wait_for_timeout(50)

    page.route("**/v1/latency", lambda route: asked.append(route))
    page.goto("/?view=latency")
    wait_for(2)
    asked[1].fulfill(json=answer(7))
    requests = page.locator(".totals dd").last
    expect(requests).to_have_text("7")
    with page.expect_response("**/v1/latency"):
        asked[0].fulfill(json=answer(3))
    page.wait_for_timeout(200)
    expect(requests).to_have_text("7")
    wait_for(3)
    asked[2].fulfill(json=answer(9))
    expect(requests).to_have_text("9")
    page.get_by_role("button", name="1 hour").click()
    expect(requests).to_have_text("9")
