"""The grid: pictures as they are, tiles of a chosen size, kinds apart, and a large library."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.acts import HEIGHTS, answered, draw, drawn, hits, until

ALL, AT_ONCE = 100_000, 20_000
TO_THE_END = """() => {
    scrollTo(0, document.documentElement.scrollHeight);
    return document.querySelectorAll("*").length;
}"""


def listed(n: int) -> dict[str, object]:
    """A file of a library, as the API lists it, an hour older than the one before; some are wide,
    some are tall."""
    return {
        "asset_id": f"{n:032x}",
        "title": f"Text {n}",
        "media_type": "text/x-unseen",
        "metadata": {
            "width": 300,
            "height": 200 + n % 3 * 100,
            "modified": 1_790_000_000 - 3600 * n,
        },
        "thumbnail_url": f"v1/assets/{n:032x}/thumbnail",
    }


def page_of(first: int, end: int, after: str) -> dict[str, object]:
    """These files, newest first."""
    assets = [listed(n) for n in range(first, end)]
    return {"assets": assets, "next_cursor": after, "sort": "newest"}


def test_a_hundred_thousand_files_are_scrolled_through_with_few_nodes(page: Page) -> None:
    asked = []

    def answer(route: Route) -> None:
        cursor = parse_qs(urlsplit(route.request.url).query).get("cursor", [""])[0]
        first = int(cursor, 16) + 1 if cursor else 0
        asked.append(first)
        end = first + AT_ONCE
        after = f"{end - 1:032x}" if end < ALL else ""
        route.fulfill(json=page_of(first, end, after))

    draw(page)
    page.route("**/v1/assets?**", answer)
    page.goto("/")
    expect(hits(page).first).to_contain_text("Text 0")
    nodes, last = [], hits(page).filter(has_text=f"Text {ALL - 1}")
    while not last.count():
        nodes.append(page.evaluate(TO_THE_END))
        page.wait_for_timeout(100)
    expect(last).to_be_visible()
    assert asked == list(range(0, ALL, AT_ONCE))
    assert max(nodes) < 3_000
    last.focus()
    page.keyboard.press("Home")
    expect(hits(page).first).to_be_focused()
    expect(hits(page).first).to_contain_text("Text 0")


def test_pictures_are_not_cropped_and_tiles_have_a_chosen_size(page: Page) -> None:
    page.goto("/?in=image")
    expect(hits(page).nth(3)).to_be_visible()
    expect(hits(page).locator("img").first).to_have_attribute("loading", "eager")
    shapes = (
        hits(page)
        .locator("img")
        .evaluate_all(
            """images => Promise.all(images.map(async (image) => {
            await image.decode();
            const {clientWidth, clientHeight, naturalWidth, naturalHeight} = image;
            return [clientWidth / clientHeight, naturalWidth / naturalHeight];
        }))"""
        )
    )
    assert len(shapes) >= 4
    for shown, natural in shapes:
        assert shown == pytest.approx(natural, rel=0.03)
    heights = []
    for size in ("Small", "Medium", "Large"):
        page.get_by_role("button", name=size, exact=True).click()
        drawn(page)
        heights.append(hits(page).last.locator(".stage").evaluate("stage => stage.clientHeight"))
    assert heights == sorted(set(heights))
    page.reload()
    large = page.get_by_role("button", name="Large", exact=True)
    expect(large).to_have_attribute("aria-pressed", "true")
    expect(hits(page).last.locator(".stage")).to_have_js_property("clientHeight", heights[-1])

    page.goto("/?q=a ticking clock")
    answered(page)
    page.get_by_role("button", name="By kind").click()
    drawn(page)
    kinds = hits(page).evaluate_all("cards => cards.map(card => card.dataset.kind)")
    in_turn = [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]
    assert len(in_turn) == len(set(kinds)) > 1
    expect(page.locator("#heads p")).to_have_count(len(in_turn))


def test_pictures_that_a_busy_server_refused_come_later(page: Page, expected: list[str]) -> None:
    expected.append("status of 503")
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        if asked[0] == route.request.url and asked.count(asked[0]) <= 2:
            route.fulfill(status=503, headers={"Retry-After": "1"})
        else:
            route.continue_()

    page.route("**/thumbnail?**", refuse)
    page.goto("/?in=image")
    expect(hits(page).nth(3)).to_be_visible()
    until(page, "[...document.querySelectorAll('.hit img')].every((one) => one.naturalWidth)")
    expect(hits(page).locator(".blank")).to_have_count(0)
    assert asked.count(asked[0]) == 4  # refused twice, then available, then fetched


def test_a_sound_that_a_busy_server_refused_is_drawn_later(page: Page, expected: list[str]) -> None:
    expected.append("status of 503")
    page.route("**/content", lambda route: route.fulfill(status=503))
    with page.expect_response("**/content"):
        page.goto("/?in=audio")
    page.unroute("**/content")
    page.get_by_role("searchbox").fill("a ticking clock")
    page.get_by_role("searchbox").press("Enter")
    answered(page)
    until(page, f"({HEIGHTS})([...document.querySelectorAll('.hit.audio .waveform path')]) > 20")


def test_a_library_goes_on_where_a_page_of_another_one_is_still_awaited(page: Page) -> None:
    asked: list[tuple[bool, str]] = []

    def answer(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        is_narrowed, cursor = "filter" in query, query.get("cursor", [""])[0]
        asked.append((is_narrowed, cursor))
        if is_narrowed or not cursor:
            first = 10 if cursor else 0
            after = "" if cursor else "more"
            page_ = [listed(n) for n in range(first, first + 10)]
            route.fulfill(json={"assets": page_, "next_cursor": after})

    draw(page)
    page.route("**/v1/assets?**", answer)
    page.goto("/")
    while (False, "more") not in asked:
        page.wait_for_timeout(50)
    page.get_by_role("checkbox", name="Pictures").check()
    expect(hits(page)).to_have_count(20)
