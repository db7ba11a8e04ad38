"""The whole page without a pointer."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.acts import answered, hits, results, search, titles


def test_search_walk_open_and_return_by_keys_alone(page: Page) -> None:
    page.goto("/")
    keys = page.keyboard
    keys.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    keys.type("a ticking clock")
    keys.press("Enter")
    results(page)
    keys.press("/")
    keys.press("ArrowDown")
    expect(hits(page).first).to_be_focused()
    keys.press("ArrowRight")
    second = hits(page).nth(1)
    expect(second).to_be_focused()
    assert second.evaluate("card => getComputedStyle(card).outlineStyle") == "solid"
    keys.press("ArrowDown")
    expect(second).not_to_be_focused()
    keys.press("ArrowUp")
    expect(second).to_be_focused()

    keys.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(titles(page)[1])
    keys.press("Escape")
    expect(dialog).to_be_hidden()
    expect(second).to_be_focused()

    liked = titles(page)[1]
    keys.press("m")
    expect(page.locator(".chip")).to_have_text(f"like {liked}")
    results(page)
    page.locator(".chip").focus()
    keys.press("Enter")
    menu = page.get_by_role("dialog", name="Term")
    expect(menu).to_be_visible()
    keys.press("Escape")
    expect(menu).to_be_hidden()
    keys.press("Delete")
    expect(page.locator(".chip")).to_have_count(0)
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_what_goes_leaves_its_focus_to_what_comes(page: Page) -> None:
    search(page, "a ticking clock")
    keys = page.keyboard
    hits(page).first.focus()
    keys.press("Enter")
    dialog = page.get_by_role("dialog")
    for title in titles(page)[:3]:
        expect(dialog.get_by_role("heading", name=title)).to_be_visible()
        keys.press("ArrowRight")
    expect(dialog.get_by_role("heading", name=titles(page)[3])).to_be_visible()
    following = dialog.get_by_role("button", name="Next result")
    following.press("Enter")
    expect(dialog.get_by_role("heading", name=titles(page)[4])).to_be_visible()
    expect(following).to_be_focused()
    keys.press("Escape")
    expect(hits(page).nth(4)).to_be_focused()

    for kind, player in (("video", "video"), ("audio", "audio")):
        tile = page.locator(f".hit.{kind}").first
        tile.locator(".play").press("Enter")
        expect(tile.locator(player)).to_be_focused()

    bar = page.get_by_role("region", name="Selection")
    second = hits(page).nth(1)
    second.focus()
    keys.press("x")
    expect(bar).to_contain_text("1 file selected")
    keys.press("#")
    expect(bar.get_by_role("combobox", name="Tag")).to_be_focused()
    keys.press("Escape")
    expect(bar.get_by_role("button", name="Tags")).to_be_focused()
    bar.get_by_role("button", name="Remove").press("Enter")
    expect(bar.get_by_role("button", name="Undo")).to_be_focused()
    keys.press("Enter")
    expect(second).to_be_focused()
    keys.press("x")
    bar.get_by_role("button", name="Clear").press("Enter")
    expect(second).to_be_focused()


def test_letters_lead_to_the_views_unless_they_are_switched_off(page: Page) -> None:
    page.goto("/")
    expect(hits(page).first).to_be_visible()
    keys = page.keyboard
    keys.press("a")
    expect(page.get_by_role("heading", name="Add files")).to_be_visible()
    keys.press("l")
    expect(page.get_by_role("heading", name="Latency")).to_be_visible()
    keys.press("s")
    expect(page.get_by_role("searchbox")).to_be_visible()
    keys.press("f")
    expect(page.get_by_role("textbox", name="Tags", exact=True)).to_be_focused()
    keys.type("al")  # letters in a field are letters
    expect(page.get_by_role("textbox", name="Tags", exact=True)).to_have_value("al")
    keys.press("Escape")
    expect(page.get_by_role("textbox", name="Tags", exact=True)).to_be_hidden()

    keys.press("?")
    help_ = page.get_by_role("dialog", name="Keyboard")
    expect(help_).to_contain_text("More like the result")
    help_.get_by_label("Single letters").uncheck()
    keys.press("Escape")
    keys.press("l")
    expect(page.get_by_role("heading", name="Latency")).to_be_hidden()
    keys.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_every_control_can_be_reached_and_is_named(page: Page) -> None:
    page.goto("/?q=bread")
    answered(page)
    seen = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        name = page.evaluate(
            """() => {
                const at = document.activeElement;
                const label = at.getAttribute("aria-label") || at.labels?.[0]?.innerText;
                return (label || at.innerText || "").trim();
            }"""
        )
        seen.add(name)
    assert {"Search", "Add", "Latency", "Pictures", "Filters"} <= seen
    assert any(name.startswith("More like") for name in seen)
