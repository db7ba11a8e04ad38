"""Searching with words: what comes back, from where it plays, how long it took."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
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


FRAME = """async () => {
  const { framed } = await import("/js/framed.js");
  const canvas = Object.assign(document.createElement("canvas"), { width: 200, height: 100 });
  const blob = await new Promise((done) => canvas.toBlob(done));
  const image = new Image(400, 400);
  image.style.objectFit = "contain";
  const box = [0.25, 0.5, 0.75, 0.5, 0.75, 1, 0.25, 1];
  const frame = framed(image, [{ regions: [box] }, {}]);
  document.body.replaceChildren(frame);
  frame.style.width = "400px";
  // A picture can be decoded before its load event, which lays the boxes.
  const loaded = new Promise((done) => image.addEventListener("load", done));
  image.src = URL.createObjectURL(blob);
  await loaded;
  await new Promise(requestAnimationFrame);
  const home = image.getBoundingClientRect();
  const { x, y, width, height } = frame.querySelector("polygon").getBoundingClientRect();
  return [x - home.x, y - home.y, width, height];
}"""


def test_a_date_and_a_place_come_first_become_filters_and_words(page: Page) -> None:
    search(page, "an animal in München, May 2024")
    chips = page.locator("#understood li:not(.dropping)")
    expect(chips).to_have_text(["Date: 1 May 2024 to 31 May 2024", "Place: München"])
    expect(hits(page).first.locator("h3")).to_have_text("cat")
    # One hit has the date; what else the question finds may be folded as weak.
    expect(hits(page)).not_to_have_count(1)

    date = page.get_by_role("button", name="Date: 1 May 2024 to 31 May 2024")
    expect(date).to_have_attribute("aria-pressed", "false")
    date.click()
    expect(hits(page)).to_have_count(1)
    expect(date).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_url(re.compile("only=date"))
    assert Axe().run(page).violations_count == 0
    date.click()
    expect(date).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_role("button", name="weaker match")).to_be_visible()

    page.get_by_role("button", name="Search for “May 2024” as words").click()
    expect(chips).to_have_text(["Place: München"])
    expect(page).to_have_url(re.compile("literal=date"))
    page.get_by_role("button", name="Search for “in München” as words").click()
    expect(chips).to_have_count(0)

    search(page, "an animal in München, May 2024")
    page.get_by_role("button", name="Search again without the date").press("Enter")
    expect(chips).to_have_text(["Place: München"])
    expect(page.get_by_role("searchbox")).to_have_value("an animal in München")
    page.get_by_role("button", name="Search again without the place").press("Enter")
    expect(page.locator("#understood")).to_be_hidden()
    expect(page.get_by_role("searchbox")).to_have_value("an animal")


def test_a_question_that_is_only_a_date_lists_what_has_it(page: Page) -> None:
    search(page, "photos from 2024")
    expect(page.locator("#understood li").first).to_have_text("Date: 1 Jan 2024 to 31 Dec 2024")
    expect(hits(page)).to_have_count(1)
    expect(hits(page).first.locator("h3")).to_have_text("cat")
    expect(page.get_by_text("Nothing stands out.")).to_be_hidden()


def test_what_nobody_took_stays_words(page: Page) -> None:
    search(page, "an animal in May 2019")
    results(page)
    expect(page.locator("#understood")).to_be_hidden()


def test_boxes_lie_on_the_text_of_a_picture(page: Page) -> None:
    """The 2:1 picture is in the middle of a square."""
    page.goto("/")
    expect(hits(page).first).to_be_visible()  # no pending request may miss what FRAME removes
    assert page.evaluate(FRAME) == pytest.approx([100, 200, 200, 100], abs=2)
