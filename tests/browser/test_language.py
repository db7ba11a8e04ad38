"""The page in languages other than English."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.acts import answered, hits, results, search, titles
from tests.browser.server import Server
from tests.browser.watch import tab

SAID = """() => {
  const own = "header, #composer, .examples, #summary, #view-add, #view-latency, footer, #help";
  const others = "#formats, #language, kbd, code, .wordmark, #words, .failures";
  const texts = [];
  for (const area of document.querySelectorAll(own)) {
    for (const node of [area, ...area.querySelectorAll("*")]) {
      if (node.closest(others)) continue;
      for (const name of ["aria-label", "title"]) texts.push(node.getAttribute(name) ?? "");
      for (const child of node.childNodes) if (child.nodeName === "#text") texts.push(child.data);
    }
  }
  return texts;
}"""
NO_WORDS = {"API", "BM25", "JSON", "KiB", "ms", "p50", "p95", "p99", "https", "localhost"}
"""What is in Latin letters in a Chinese text, too."""


@pytest.fixture
def opened(chromium: Browser, server: Server) -> Iterator[Callable[[str], Page]]:
    """Opens a tab for a reader of a given language."""
    with ExitStack() as stack:
        yield lambda locale: stack.enter_context(tab(chromium, server, locale=locale))


def latin(page: Page) -> set[str]:
    """Words in Latin letters in the page's own texts."""
    words = {word for text in page.evaluate(SAID) for word in re.findall(r"[A-Za-z]\w+", text)}
    return words - NO_WORDS


def test_a_chinese_reader_finds_no_english(opened: Callable[[str], Page]) -> None:
    page = opened("zh-CN")
    # the English model cannot read the first question
    for asked, said in (("时钟的声音", "没有突出的结果"), ("coffee", "个结果")):
        page.goto(f"/?q={asked}")
        expect(page.locator("html")).to_have_attribute("lang", "zh")
        expect(page.locator("#summary-text")).to_contain_text(said)
        assert latin(page) <= {asked}
    for address, ready in (("/?view=add", "#dropzone"), ("/?view=latency", "#latency-body table")):
        page.goto(address)
        expect(page.locator(ready).first).to_be_visible()
        assert latin(page) == set()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="键盘")).to_be_visible()
    assert latin(page) == set()


@pytest.mark.parametrize("locale", ["de-DE", "zh-CN"])
def test_a_translated_page_is_for_everybody(opened: Callable[[str], Page], locale: str) -> None:
    page = opened(locale)
    page.set_viewport_size({"width": 320, "height": 844})
    for view in ("/?q=a ticking clock", "/?view=add"):
        page.goto(view)
        expect(page.locator(".hit:visible, #dropzone:visible").first).to_be_visible()
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not page.evaluate(wide), view
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_numbers_and_days_are_written_as_the_reader_does(opened: Callable[[str], Page]) -> None:
    page = opened("de-DE")
    page.goto("/?q=ein Tier im Mai 2024")
    chips = page.locator("#understood li")
    expect(chips).to_have_text(["Datum: 01.05.2024 bis 31.05.2024", "Ohne das Datum suchen"])
    page.get_by_role("button", name="schwächer").click()
    page.locator(".hit a.open").first.click()
    expect(page.get_by_text(re.compile(r"^Wert -?\d+,\d\d: wie"))).to_be_visible()


def test_facts_have_names_in_the_reader_s_language(opened: Callable[[str], Page]) -> None:
    page = opened("de-DE")
    page.goto("/?q=a ticking clock")
    texts = page.locator(".hit").filter(has=page.locator('.kind[data-modality="text"]'))
    texts.first.locator("a.open").click()
    facts = page.get_by_role("dialog").locator(".known div")
    expect(facts.filter(has_text="Sprache")).to_have_text("SpracheEnglisch")


def test_another_language_is_chosen_and_kept(opened: Callable[[str], Page]) -> None:
    page = opened("fr-FR")
    page.goto("/")
    expect(page.get_by_role("button", name="Filters", exact=True)).to_be_visible()
    choice = page.get_by_label("Language of this page")
    expect(choice.locator("option")).to_have_text(["English", "Deutsch", "中文"])
    choice.select_option("Deutsch")
    expect(page.get_by_role("button", name="Filter", exact=True)).to_be_visible()
    page.goto("/?view=add")
    expect(page.get_by_role("heading", name="Dateien hinzufügen")).to_be_visible()
    expect(page.get_by_label("Sprache dieser Seite")).to_have_value("de")


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
    for _ in range(30):
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


def test_a_refusal_is_told_in_the_reader_s_language(chromium: Browser, server: Server) -> None:
    with tab(chromium, server, ["422"], locale="de-DE") as page:
        page.goto('/?q=Uhr&filter={"field": "no such field", "eq": 1}')
        notice = page.get_by_role("alert")
        expect(notice).to_contain_text("Ein Wert dieser Anfrage ist nicht brauchbar.")
        expect(notice.locator("[lang=en]")).to_contain_text("no such field")


def test_a_file_set_aside_is_told_in_the_reader_s_language(
    chromium: Browser, server: Server, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    with tab(chromium, server, locale="de-DE") as page:
        page.goto("/?view=add")
        page.locator("#add-files").set_input_files(broken)
        expect(page.locator(".failures")).to_contain_text("Diese Datei ist beschädigt")


def test_a_search_is_saved_opened_and_forgotten_by_keys(page: Page) -> None:
    keys = page.keyboard
    page.goto("/")
    expect(page.locator(".examples")).to_be_visible()
    page.get_by_role("checkbox", name="Pictures").check()
    page.get_by_role("searchbox").fill("a wall clock")
    keys.press("Enter")
    results(page)
    hits(page).first.focus()
    keys.press("b")
    expect(page.get_by_role("button", name="Save", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    before = titles(page)

    page.goto("/")
    expect(page.locator(".examples")).to_be_hidden()
    assert Axe().run(page).violations_count == 0
    saved = page.get_by_role("link", name="a wall clock, Pictures")
    saved.press("Enter")
    results(page)
    assert titles(page) == before
    expect(page.get_by_role("checkbox", name="Pictures")).to_be_checked()

    page.go_back()
    page.get_by_role("button", name="Forget the search “a wall clock, Pictures”").press("Enter")
    expect(saved).to_be_hidden()
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.reload()
    expect(page.locator(".examples")).to_be_visible()


def test_a_saved_search_is_a_tap_away(chromium: Browser, server: Server) -> None:
    with tab(chromium, server, viewport={"width": 390, "height": 844}, has_touch=True) as page:
        search(page, "a ticking clock")
        page.get_by_role("button", name="Save", exact=True).tap()
        before = titles(page)
        page.get_by_role("link", name="anymodal").tap()
        page.get_by_role("link", name="a ticking clock").tap()
        results(page)
        assert titles(page) == before
