"""Searching with pictures, sounds, stored files and negative terms."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.acts import drop, hits, paste, results, search, titles
from tests.browser.library import recorded_sound, sample, say

COUNT_RECORDINGS = """() => {
    const devices = navigator.mediaDevices;
    const ask = devices.getUserMedia.bind(devices);
    window.recordings = 0;
    devices.getUserMedia = (what) => ((recordings += 1), ask(what));
}"""


def test_a_dropped_picture_finds_sounds(page: Page, library: Path) -> None:
    page.goto("/")
    drop(page, "search", [sample(library, "wall-clock.png")])
    results(page)
    assert titles(page)[0] == "wall-clock"  # identical content ranks first
    expect(page.locator(".chip img")).to_be_visible()
    page.get_by_role("checkbox", name="Sounds").check()
    expect(page).to_have_url(re.compile("in=audio"))
    results(page)
    expect(hits(page).first.locator("h3")).to_have_text("clock-ticking")

    page.reload()  # the picture is kept in this browser
    results(page)
    assert titles(page)[0] == "clock-ticking"


def test_a_pasted_picture_and_words_together(page: Page, library: Path) -> None:
    search(page, "an engine roars")
    paste(page, [sample(library, "motorcycle.png")])
    expect(page.locator(".chip")).to_have_count(1)
    results(page)
    expect(hits(page).first.locator("h3")).to_have_text("motorcycle")


def test_a_chosen_sound_is_searched_with(page: Page, library: Path) -> None:
    page.goto("/")
    page.set_input_files("#query-file", sample(library, "rocket-launch.mp3"))
    results(page)
    assert titles(page)[0] == "rocket-launch"


def test_a_recorded_sound_is_searched_with(page: Page) -> None:
    page.goto("/")
    page.evaluate(COUNT_RECORDINGS)
    page.get_by_role("button", name="Record a sound").evaluate("one => (one.click(), one.click())")
    expect(page.locator("#recording-time")).to_have_text(re.compile("0:(0[3-9]|[12])"))
    assert page.evaluate("recordings") == 1  # a second recording would never end
    page.get_by_role("button", name="Search with it").click()
    expect(page.locator(".chip")).to_contain_text("recording")
    results(page)
    assert "clock-ticking" in titles(page)[:3]  # what the microphone heard


def test_a_spoken_question_is_understood(page: Page, library: Path) -> None:
    say("Mix flour, water, salt and yeast for a loaf of bread.", library)
    try:
        page.goto("/")
        page.get_by_role("button", name="Record a sound").click()
        words = page.locator("#recording-words")
        expect(words).to_have_text(re.compile("bread", re.IGNORECASE), timeout=25_000)
        with page.expect_response("**/v1/search") as answer:
            page.get_by_role("button", name="Search with it").click()
        results(page)
        expect(page.locator("#summary-text")).to_contain_text("s after the last words")
    finally:
        recorded_sound(library)
    assert "encode_audio" in answer.value.json()["latency_ms"]
    page.get_by_role("checkbox", name="Texts").check()
    expect(page).to_have_url(re.compile("in=text"))
    results(page)
    expect(hits(page).first.locator("h3")).to_have_text(re.compile("bread", re.IGNORECASE))


def test_more_like_this_leaves_itself_out(page: Page) -> None:
    search(page, "a hot drink in a cup")
    card = hits(page).filter(has=page.get_by_role("link", name="coffee", exact=True)).first
    kind = card.get_attribute("data-kind")
    card.get_by_role("button", name="More like coffee").click()
    expect(page.locator(".chip")).to_have_text("like coffee")
    results(page)
    expect(page.get_by_role("searchbox")).to_have_value("")
    other = "text" if kind == "image" else "image"
    assert titles(page)[0] == "coffee"
    expect(hits(page).first).to_have_attribute("data-kind", other)


def test_a_negative_term_pushes_away(page: Page) -> None:
    search(page, "coffee")
    assert "coffee" in titles(page)[0]
    page.get_by_role("searchbox").fill("something warm -coffee")
    page.get_by_role("searchbox").press("Enter")
    chip = page.locator(".chips li")
    expect(chip).to_have_class("less")
    expect(page.get_by_role("searchbox")).to_have_value("something warm")
    results(page)
    assert "coffee" not in titles(page)[0]

    page.locator(".chip").click()
    page.get_by_role("button", name="More of it").click()
    expect(chip).not_to_have_class("less")
    results(page)
    assert "coffee" in titles(page)[0]
    page.locator(".chip").click()
    page.get_by_role("button", name="×4").click()
    expect(page.locator(".chip")).to_contain_text("×4")
    expect(page).to_have_url(re.compile("term=text%3A4%3Acoffee"))
    page.locator(".chip").click()
    page.get_by_role("button", name="Less of it").click()
    expect(page).to_have_url(re.compile("term=text%3A-0.5%3Acoffee"))  # more would ruin the list

    page.locator(".chip").focus()
    page.get_by_role("checkbox", name="Pictures").evaluate("box => box.click()")
    expect(page).to_have_url(re.compile("in=image"))
    expect(page.locator(".chip")).to_be_focused()
