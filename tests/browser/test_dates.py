"""The dates of the library on a strip."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.acts import draw, drop, hits, results
from tests.support.media import picture

MAY_2024, DAY = 1_714_521_600, 86_400
ALL = 1000
TOPS = """cards => Object.fromEntries(cards.map((card) => {
    const {x, y, width} = card.getBoundingClientRect();
    return [card.dataset.asset, [x, y, width].map(Math.round)];
}))"""
NUMBERS = "cards => cards.map((card) => parseInt(card.dataset.asset, 16))"


def test_a_strip_of_months_leads_through_the_library(page: Page) -> None:
    """All files but the picture of May 2024 were made today."""
    page.goto("/")
    strip = page.get_by_role("slider", name="Date")
    expect(strip).to_have_attribute("aria-valuemax", "1")
    expect(hits(page).last).to_contain_text("cat")
    everything = hits(page).count()  # other tests leave files behind
    with page.expect_response("**sort=oldest**"):
        strip.press("End")
    expect(strip).to_have_attribute("aria-valuetext", "May 2024, 1 file")
    expect(page).to_have_url("/?from=2024-05")
    expect(hits(page)).to_have_count(everything)  # what is newer is above
    expect(hits(page).last).to_contain_text("cat")
    expect(hits(page).last).to_be_in_viewport()
    assert Axe().run(page).violations_count == 0
    strip.press("Home")
    expect(page).to_have_url("/")
    expect(hits(page)).to_have_count(everything)
    assert page.evaluate("scrollY") == 0

    box = strip.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 8, box["y"] + box["height"] - 2)
    expect(page).to_have_url("/?from=2024-05")
    page.get_by_role("link", name="anymodal").click()
    expect(page).to_have_url("/")
    page.get_by_role("searchbox").fill("bread")
    page.get_by_role("searchbox").press("Enter")
    expect(strip).to_be_hidden()


def test_the_oldest_come_first_where_one_says_so(page: Page) -> None:
    page.goto("/")
    order = page.get_by_role("combobox", name="Order")
    expect(hits(page).last).to_contain_text("cat")
    everything = hits(page).count()
    order.select_option("Oldest first")
    expect(hits(page).first).to_contain_text("cat")
    expect(hits(page)).to_have_count(everything)
    expect(page).to_have_url("/?order=oldest")
    expect(page.get_by_role("slider", name="Date")).to_be_hidden()
    page.reload()
    expect(hits(page).first).to_contain_text("cat")
    expect(order).to_have_value("oldest")
    page.get_by_role("link", name="anymodal").click()
    expect(hits(page).last).to_contain_text("cat")

    page.get_by_role("searchbox").fill("a cat")
    page.get_by_role("searchbox").press("Enter")
    results(page)
    expect(hits(page).first).to_contain_text("cat")
    with page.expect_response("**/v1/search"):
        order.select_option("Newest first")
    results(page)
    expect(page.locator(".hit:not(.weak)").last).to_contain_text("cat")  # weak ones are behind it
    assert Axe().run(page).violations_count == 0
    order.select_option("Best first")
    results(page)
    expect(hits(page).first).to_contain_text("cat")


def test_what_was_added_last_comes_first(page: Page, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "Camera"  # Pillow drops an EXIF that has only sub-IFDs
    exif.get_ifd(0x8769)[0x9003] = "2019:07:01 12:00:00"
    old = tmp_path / "harbour.jpg"
    Image.fromarray(picture(seed=7)).save(old, exif=exif)
    page.goto("/?view=add")
    drop(page, "add", [old])
    expect(page.locator(".job").first).to_contain_text("1 added", timeout=60_000)
    page.goto("/")
    expect(hits(page).last).to_contain_text("harbour")
    expect(page.locator("#heads p").last).to_have_text("July 2019")
    order = page.get_by_role("combobox", name="Order")
    order.select_option("Lately added first")
    expect(page).to_have_url("/?order=added")
    expect(hits(page).first).to_contain_text("harbour")
    expect(page.locator("#heads p")).to_have_count(0)
    page.get_by_role("searchbox").fill("a cat")
    page.get_by_role("searchbox").press("Enter")
    results(page)
    expect(order).to_have_value("")
    newest = page.request.get("/v1/assets?sort=added&limit=1").json()["assets"][0]
    page.request.delete(f"/v1/assets/{newest['asset_id']}")


def dated(n: int) -> dict[str, object]:
    """A file of a library, as the API lists it: the newest is 0, and each is a day older."""
    return {
        "asset_id": f"{n:032x}",
        "title": f"Text {n}",
        "media_type": "text/x-unseen",
        "metadata": {
            "modified": MAY_2024 + (ALL // 2 - n) * DAY,
            "width": 300,
            "height": 200 + n % 7 * 50,
        },
        "thumbnail_url": f"v1/assets/{n:032x}/thumbnail",
    }


def answer(route: Route) -> None:
    """A page of the library, in either order."""
    query = {name: one for name, [one] in parse_qs(urlsplit(route.request.url).query).items()}
    second, _, asset_id = query.get("cursor", "").partition("_")
    at = int(asset_id, 16) if asset_id else ALL // 2 - (int(second) - MAY_2024) // DAY
    if query["sort"] == "oldest":
        page, is_end = range(at, max(-1, at - 100), -1), at < 100
    else:
        page, is_end = range(at + 1, min(ALL, at + 101)), at + 101 >= ALL
    cursor = "" if is_end else f"0_{page[-1] - (query['sort'] == 'oldest'):032x}"
    listed = [dated(n) for n in page]
    sort = query["sort"].replace("auto", "newest")
    route.fulfill(json={"assets": listed, "next_cursor": cursor, "sort": sort})


def test_a_library_opened_at_a_month_goes_on_upwards(page: Page) -> None:
    draw(page)
    page.route("**/v1/assets?**", answer)
    held: list[Route] = []
    page.route("**/v1/assets?**sort=oldest**", lambda route: held.append(route))
    with page.expect_request("**sort=oldest**"):
        page.goto("/?from=2024-04")
    first = hits(page).filter(has_text="Text 501")
    expect(first).to_be_in_viewport()  # the last of April
    while not held:
        page.wait_for_timeout(20)
    before = hits(page).evaluate_all(TOPS)
    page.unroute("**/v1/assets?**sort=oldest**")
    answer(held[0])
    expect(hits(page).filter(has_text="Text 500")).to_be_in_viewport()
    after = hits(page).evaluate_all(TOPS)
    for asset_id in before.keys() & after.keys():
        assert after[asset_id] == pytest.approx(before[asset_id], abs=1)  # it scrolls whole pixels
    assert len(before.keys() & after.keys()) > 5
    page.mouse.move(600, 450)
    newest = hits(page).and_(page.locator(f"[data-asset='{0:032x}']"))
    while not newest.count():  # at the top, newer ones may still be awaited
        page.mouse.wheel(0, -700)
        page.wait_for_timeout(20)
    expect(hits(page).first).to_contain_text("Text 0")
    shown = hits(page).evaluate_all(NUMBERS)
    assert all(two == one + 1 for one, two in pairwise(shown))
    hits(page).first.focus()
    page.keyboard.press("End")
    expect(page.locator(".hit:focus")).to_be_visible()


def test_what_is_newer_is_asked_for_again_when_one_says_so(page: Page, expected: list[str]) -> None:
    expected.append("503")
    draw(page)
    page.route("**/v1/assets?**", answer)
    refused = "**/v1/assets?**sort=oldest**"
    busy = {"error": {"message": "The server is busy."}}
    page.route(refused, lambda route: route.fulfill(status=503, json=busy))
    page.goto("/?from=2024-04")
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("The server is busy.")
    page.unroute(refused)
    notice.get_by_role("button", name="Try again").click()
    expect(hits(page).filter(has_text="Text 500")).to_be_visible()
    expect(notice).to_be_hidden()


def test_a_library_without_what_is_older_than_a_month_begins_at_the_newest(page: Page) -> None:
    page.goto("/?from=1970-01")
    expect(page).to_have_url("/")
    expect(hits(page).last).to_contain_text("cat")


def test_months_are_asked_for_again_after_the_server_was_busy(
    page: Page, expected: list[str]
) -> None:
    expected.append("503")
    page.clock.install()
    page.route("**/v1/facets**", lambda route: route.fulfill(status=503, json={}))
    with page.expect_response("**/v1/facets**"):
        page.goto("/")
    expect(hits(page).last).to_contain_text("cat")
    page.unroute("**/v1/facets**")
    strip = page.get_by_role("slider", name="Date")
    expect(strip).to_be_hidden()
    with page.expect_response("**/v1/facets**"):
        page.clock.fast_forward(6000)
    expect(strip).to_be_visible()
