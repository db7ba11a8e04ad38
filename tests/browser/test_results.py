"""What is done with results: narrowed, continued, shared, looked at in full."""

from __future__ import annotations

import json
import re

from playwright.sync_api import Page, Route, expect

from tests.browser.acts import answered, hits, kinds, results, search, titles, until


def test_filters_narrow_and_are_in_the_address(page: Page) -> None:
    search(page, "a clock")
    assert kinds(page) == {"text", "image", "audio", "video"}
    page.get_by_role("checkbox", name="Pictures").check()
    expect(page).to_have_url(re.compile("in=image"))
    results(page)
    assert kinds(page) == {"image"}

    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Name or path contains").fill("wall-")
    expect(hits(page)).to_have_count(1)
    assert titles(page) == ["wall-clock"]
    page.get_by_label("Any field, as JSON").fill('{"field": "width", "lt"')
    expect(page.locator("#filters-problem")).to_contain_text("not valid JSON")
    page.get_by_label("Any field, as JSON").fill('{"field": "width", "lt": 1}')
    expect(page.locator("#notice")).to_contain_text("No files match the filters")
    page.get_by_role("button", name="Clear the filters").click()
    results(page)
    assert kinds(page) == {"text", "image", "audio", "video"}


def test_an_answer_is_readable_as_soon_as_it_is_there(page: Page) -> None:
    search(page, "a ticking clock")
    page.evaluate(
        """() => {
            const feed = document.querySelector("#hits");
            window.seen = [];
            const look = () => seen.push([feed.ariaBusy, getComputedStyle(feed).opacity]);
            new MutationObserver(look).observe(feed, {attributeFilter: ["aria-busy"]});
        }"""
    )
    held: list[Route] = []
    page.route("**/v1/search", lambda route: held.append(route))
    page.get_by_role("searchbox").fill("bread")
    page.get_by_role("searchbox").press("Enter")
    until(page, "getComputedStyle(document.querySelector('#hits')).opacity === '0.45'")
    held[0].continue_()
    results(page)
    assert page.evaluate("seen.at(-1)") == ["false", "1"]


def test_back_and_a_shared_link_lead_to_the_same_results(page: Page) -> None:
    search(page, "a ticking clock")
    before = titles(page)
    page.get_by_role("searchbox").fill("bread")
    page.get_by_role("searchbox").press("Enter")
    expect(page).to_have_url(re.compile("q=bread"))
    results(page)
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("a ticking clock")
    results(page)
    assert titles(page) == before
    page.goto(page.url)
    results(page)
    assert titles(page) == before


def test_further_pages_follow_without_a_hit_twice(page: Page) -> None:
    def five(route: Route) -> None:
        asked = json.loads(route.request.post_data or "{}")
        route.continue_(post_data=json.dumps({**asked, "limit": 5}))

    page.route("**/v1/search", five)
    search(page, "a clock")
    expect(hits(page)).to_have_count(5)
    page.get_by_role("button", name="Show more").click()
    expect(hits(page).nth(5)).to_be_focused()
    results(page)
    expect(hits(page)).to_have_count(10)
    addresses = hits(page).evaluate_all("cards => cards.map(card => card.dataset.asset)")
    assert len(set(addresses)) == 10


def test_a_further_page_that_comes_late_takes_the_focus_from_nobody(page: Page) -> None:
    held: list[tuple[Route, str]] = []

    def five(route: Route) -> None:
        asked = json.loads(route.request.post_data or "{}")
        body = json.dumps({**asked, "limit": 5})
        if "cursor" in asked:
            held.append((route, body))
        else:
            route.continue_(post_data=body)

    page.route("**/v1/search", five)
    search(page, "a clock")
    page.get_by_role("button", name="Show more").click()
    while not held:
        page.wait_for_timeout(50)
    page.get_by_role("searchbox").focus()
    [(route, body)] = held
    route.continue_(post_data=body)
    expect(hits(page)).to_have_count(10)
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_what_is_typed_in_a_filter_is_kept_by_what_is_done_next(page: Page) -> None:
    page.goto("/")
    pictures = page.get_by_role("checkbox", name="Pictures")
    expect(pictures).to_be_visible()
    page.get_by_role("button", name="Filters").click()
    name = page.get_by_label("Name or path contains")
    name.fill("clock")
    pictures.check()
    expect(page).to_have_url(re.compile("in=image&path=clock"))
    expect(name).to_have_value("clock")
    expect(hits(page)).to_have_count(1)


def test_a_hit_in_full_with_its_moments_and_how_its_score_came_about(page: Page) -> None:
    search(page, "a rocket takes off into space")
    page.locator(".hit.video a.open").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", level=2)).to_have_text("film")
    video = dialog.locator("video")
    until(page, "document.querySelector('dialog video')?.currentTime >= 5")
    dialog.get_by_role("button", name="Play from").last.click()
    # The last moment is a second before the end, which a busy machine may have passed by now.
    until(page, "(({paused, ended}) => !paused || ended)(document.querySelector('dialog video'))")
    frames = dialog.locator(".film-strip img")
    expect(frames).to_have_count(8)
    for n in (0, 7):
        expect(frames.nth(n)).to_have_js_property("complete", True)
    length, pictures = (
        video.evaluate("one => one.duration"),
        frames.evaluate_all(
            "all => new Set(all.map((one) => new URL(one.src).searchParams.get('t'))).size"
        ),
    )
    assert pictures == 8
    frames.last.click()
    until(page, f"document.querySelector('dialog video').currentTime >= {length * 0.9}")
    dialog.get_by_text("how it was computed").click()
    why = dialog.locator(".why")
    expect(why.get_by_role("row", name="“a rocket takes off into space”")).to_contain_text("text")
    expect(why).to_contain_text("Rank by meaning")
    expect(dialog).to_contain_text("video/mp4")
    shared = page.url

    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page).not_to_have_url(re.compile("open="))
    page.goto(shared)
    expect(page.get_by_role("dialog").locator("video")).to_be_visible()


def test_the_tile_s_picture_is_seen_until_the_large_one_is_there(page: Page) -> None:
    search(page, "a wall clock")
    until(page, "document.querySelector('.hit.image img').naturalWidth > 0")
    held: list[Route] = []
    page.route("**/content", lambda route: held.append(route))
    page.locator(".hit.image a.open").first.click()
    picture = page.get_by_role("dialog").locator("img")
    expect(picture).to_have_css("background-image", re.compile("/thumbnail.*size="))
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    expect(picture).to_have_css("background-image", "none")


OPENING = """async () => {
  const { openingOf } = await import("/js/moments.js");
  const [snippet, matches] = ["Die Fähre legt um neun ab", [[4, 9], [18, 22]]];
  const said = { modality: "text", start_s: 41.5, snippet, matches };
  const hit = { media_type: "video/mp4", modality: "image", start_s: 0, moments: [said] };
  const questions = ["fähre neun", "fähre neun hafen donnerstag winter"];
  return questions.map((words) => openingOf(hit, words.split(" ")).start_s);
}"""


def test_a_film_opens_where_the_words_are_said(page: Page) -> None:
    page.goto("/")
    expect(hits(page).first).to_be_visible()
    assert page.evaluate(OPENING) == [41.5, 0]
    search(page, "carry my satellite on a rocket")
    link = page.locator(".hit.video a.open")
    moments = page.request.post("/v1/search", data={"query": "carry my satellite on a rocket"})
    film = next(hit for hit in moments.json()["hits"] if hit["media_type"] == "video/mp4")
    said = next(one for one in [film, *film["moments"]] if "satellite" in one["snippet"])
    expect(link).to_have_attribute("href", re.compile(rf"at={said['start_s']:g}\b"))


def test_a_hit_says_why_it_was_found_and_how_likely_it_answers(page: Page) -> None:
    search(page, "a rocket takes off into space")
    card = page.locator(".hit.video")
    expect(card.locator(".facts")).to_have_text(re.compile(r"Film · (very likely|likely|possible)"))
    card.locator("a.open").click()
    because = page.get_by_role("dialog").locator(".because")
    expect(because).to_have_text(
        re.compile(r"“rocket”.* · at 0:0\d · (very likely|likely|possible) \(\d+%\)")
    )


def test_what_does_not_stand_out_is_folded_away(page: Page) -> None:
    strong = 1

    def answer(route: Route) -> None:
        reply = route.fetch()
        found = reply.json()
        for place, hit in enumerate(found["hits"]):
            hit["weak"] = place >= strong
        route.fulfill(response=reply, json=found)

    page.route("**/v1/search", answer)
    page.goto("/?q=a clock")
    answered(page)
    expect(hits(page)).to_have_count(1)
    page.get_by_role("button", name="weaker match").click()
    expect(hits(page).nth(1)).to_be_focused()

    strong = 0
    page.goto("/?q=a clock tower")
    line = page.locator("#summary").filter(has_text="Nothing stands out.")
    expect(line).to_be_visible()
    expect(hits(page)).to_have_count(0)
    line.get_by_role("button", name="weaker match").click()
    expect(hits(page).first).to_be_focused()


def test_more_results_show_the_weaker_matches_too(page: Page) -> None:
    n_answered: list[int] = []

    def answer(route: Route) -> None:
        asked = dict(route.request.post_data_json)
        is_further = asked.pop("cursor", "") == "further"
        reply = route.fetch(post_data=asked)
        answered_json = reply.json()
        for place, hit in enumerate(answered_json["hits"]):
            hit["weak"] = is_further or place > 0
            hit["segment_id"] += "-further" * is_further
        answered_json["next_cursor"] = "" if is_further else "further"
        n_answered.append(len(answered_json["hits"]))
        route.fulfill(response=reply, json=answered_json)

    page.route("**/v1/search", answer)
    page.goto("/?q=a clock")
    answered(page)
    expect(hits(page)).to_have_count(1)
    page.locator("#more").click()
    expect(hits(page)).to_have_count(2 * n_answered[0])
    expect(page.get_by_role("button", name="weaker match")).to_be_hidden()
    expect(hits(page).nth(1)).to_be_focused()
