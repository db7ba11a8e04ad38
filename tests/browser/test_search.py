"""Searching with words: what comes back, from where it plays, how long it took."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.browser.acts import HEIGHTS, hits, results, search, until


def test_words_find_pictures_and_texts_with_the_match_marked(page: Page) -> None:
    search(page, "how to bake bread")
    first = hits(page).first
    expect(first.locator("h3")).to_contain_text(re.compile("bread", re.IGNORECASE))
    expect(first.locator("mark").first).to_have_text(re.compile("bread|bak", re.IGNORECASE))
    expect(page).to_have_url(re.compile("q=how\\+to\\+bake\\+bread"))

    search(page, "a small furry pet with whiskers")
    expect(hits(page).first.locator("h3")).to_have_text("cat")
    picture = hits(page).first.locator("img")
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("image => image.naturalWidth") > 0


def test_the_film_plays_from_the_moment_found(page: Page) -> None:
    search(page, "a rocket takes off into space")
    film = page.locator(".hit.video")
    play = film.get_by_role("button", name="Play from").first
    minutes, seconds = re.findall(r"\d+", play.inner_text())
    start = int(minutes) * 60 + int(seconds)
    assert 5 <= start <= 15  # in the second of three scenes
    play.click()
    video = film.locator("video")
    expect(video).to_have_js_property("paused", False)
    until(page, f"document.querySelector('.hit.video video').currentTime >= {start}")
    until(page, "document.querySelector('.hit.video video').played.length > 0")
    assert video.evaluate("video => video.played.start(0)") < start + 5
    assert video.evaluate("video => video.videoWidth") > 0

    film.locator(".moment").first.click()
    until(page, "document.querySelector('.hit.video video').played.start(0) < 5")


def test_a_sound_shows_its_loudness_and_plays(page: Page) -> None:
    search(page, "the ticking of a clock")
    sound = page.locator(".hit.audio").filter(has_text="clock-ticking")
    sound.scroll_into_view_if_needed()
    first = "[...document.querySelector('.hit.audio .waveform').children]"
    until(page, f"({HEIGHTS})({first}) > 3")
    sound.get_by_role("button", name="Play from").first.click()
    expect(sound.locator("audio")).to_have_js_property("paused", False)


def test_where_the_time_went(page: Page) -> None:
    search(page, "bread")
    page.locator("#timing").click()
    chart = page.get_by_role("list", name="Time of each stage")
    for stage in ("encode text", "search", "fuse", "fetch"):
        expect(chart).to_contain_text(stage)
    bars = chart.locator("rect").evaluate_all("bars => bars.map(bar => bar.getBBox().x)")
    assert bars == sorted(bars)


def test_an_error_says_what_to_do(page: Page, expected: list[str]) -> None:
    expected.append("status of 422")
    page.goto('/?q=x&filter={"field":"smell","eq":1}')
    notice = page.get_by_role("alert").filter(has_text="smell")
    expect(notice).to_be_visible()
    expect(notice.get_by_role("button", name="Try again")).to_be_visible()


def test_weaker_matches_are_folded_away(page: Page) -> None:
    page.goto("/")
    page.get_by_role("searchbox").fill("how to bake bread")
    page.get_by_role("searchbox").press("Enter")
    fold = page.get_by_role("button", name="weaker match")
    expect(fold).to_be_visible()
    before = hits(page).count()
    assert before > 0
    fold.click()
    expect(fold).to_be_hidden()
    assert hits(page).count() > before


def test_words_that_are_typed_before_the_page_is_ready_are_kept_and_searched_for(
    page: Page,
) -> None:
    held: list[Route] = []
    page.route("**/js/main.js", lambda route: held.append(route))
    words = page.get_by_role("searchbox")
    page.goto("/", wait_until="commit")
    words.fill("bread")
    while not held:
        page.wait_for_timeout(50)
    held[0].continue_()
    expect(hits(page).first).to_be_visible()
    expect(words).to_have_value("bread")

    page.goto("/", wait_until="commit")
    words.fill("coffee")
    page.unroute("**/js/main.js")
    words.press("Enter")
    results(page)
    expect(words).to_have_value("coffee")
    expect(page).to_have_url(re.compile("q=coffee"))
