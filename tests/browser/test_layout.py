"""Phone to 4k, light and dark, accessible, and light on the network."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, ViewportSize, expect

from tests.browser.acts import answered, hits, search, until
from tests.browser.server import Server
from tests.browser.watch import tab

VIEWS = {
    "library": "/",
    "results": "/?q=a ticking clock&term=text:-0.5:bread",
    "add": "/?view=add",
    "latency": "/?view=latency",
}
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def show(page: Page, view: str) -> None:
    page.goto(VIEWS[view])
    ready = {"add": "#dropzone", "latency": "#latency-body > *"}.get(view, ".hit")
    expect(page.locator(ready).first).to_be_visible()


@pytest.mark.parametrize("width", [320, 390, 768, 1440, 3840])
def test_nothing_is_wider_than_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    for view in VIEWS:
        show(page, view)
        assert not page.evaluate(WIDER), view
    show(page, "results")
    page.get_by_role("button", name="Filters").click()
    assert not page.evaluate(WIDER)
    page.keyboard.press("Escape")
    page.locator(".hit a.open").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert not page.evaluate(WIDER)
    assert page.locator("#detail").evaluate("box => box.scrollWidth <= box.clientWidth")


@pytest.mark.parametrize("width", [320, 390])
def test_what_is_done_with_a_selection_can_be_reached_on_a_phone(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    show(page, "results")
    hits(page).first.locator(".pick").click()
    bar = page.get_by_role("region", name="Selection")
    for act in ("Tags", "Download", "Remove", "Select all", "Clear"):
        expect(bar.get_by_role("button", name=act)).to_be_in_viewport(ratio=1)
    bar.get_by_role("button", name="Tags").click()
    for act in ("Add tag", "Cancel"):
        expect(bar.get_by_role("button", name=act)).to_be_in_viewport(ratio=1)


COVERED = """cards => cards.filter((card) => {
    const words = document.createRange();
    words.selectNodeContents(card.querySelector(".prose"));
    const [line] = words.getClientRects();
    const check = card.querySelector(".pick").getBoundingClientRect();
    return line.left < check.right && line.top < check.bottom;
}).length"""
"""How many cards have a first line that is partly behind their checkbox."""


@pytest.mark.parametrize("width", [320, 360])
def test_a_phone_has_the_question_in_a_row_and_words_beside_checks(
    chromium: Browser, server: Server, width: int
) -> None:
    size: ViewportSize = {"width": width, "height": 740}
    in_a_row = (
        "([one, ...more]) => more.every(({offsetTop}) => Math.abs(offsetTop - one.offsetTop) < 9)"
    )
    with tab(chromium, server, viewport=size, is_mobile=True, has_touch=True) as page:
        page.goto("/?in=text")
        expect(hits(page).first).to_be_visible()
        assert page.locator("#words, #record, .go").evaluate_all(in_a_row)
        assert page.locator(".hit:has(.prose)").evaluate_all(COVERED) == 0


def test_a_mouse_has_words_beside_checks_too(page: Page) -> None:
    page.goto("/?in=text")
    hits(page).first.hover()
    expect(hits(page).first.locator(".pick")).to_have_css("opacity", "1")
    assert page.locator(".hit:has(.prose)").evaluate_all(COVERED) == 0


BRIGHTNESS = """(() => {
    const pen = document.createElement("canvas").getContext("2d");
    pen.fillStyle = getComputedStyle(document.body).backgroundColor;
    pen.fillRect(0, 0, 1, 1);
    return pen.getImageData(0, 0, 1, 1).data.slice(0, 3).reduce((a, b) => a + b) / 765;
})()"""
"""The brightness of the background as it is really painted, 0 to 1."""


def test_dark_by_the_system_or_by_choice(page: Page) -> None:
    is_light, is_dark = f"{BRIGHTNESS} > 0.9", f"{BRIGHTNESS} < 0.2"
    page.goto("/")
    until(page, is_light)
    page.emulate_media(color_scheme="dark")
    until(page, is_dark)
    page.get_by_role("button", name="light and dark").click()
    until(page, is_light)
    page.reload()
    until(page, is_light)
    page.keyboard.press("t")
    until(page, is_dark)


def test_nothing_moves_for_those_who_ask_for_it(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto("/")
    page.wait_for_selector("body *")
    # The browser has been seen to open the page before it knew the setting, and style it later.
    still = "one => getComputedStyle(one).transitionDuration == '0s'"
    page.wait_for_function(f"[...document.querySelectorAll('body *')].every({still})")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", [*VIEWS, "detail", "filters", "help", "nothing"])
def test_accessible_by_the_rules_of_axe(page: Page, view: str, scheme: str) -> None:
    page.emulate_media(
        color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
    )
    show(page, view if view in VIEWS else "results")
    if view == "detail":
        page.locator(".hit a.open").first.click()
        expect(page.get_by_role("dialog").locator(".known")).to_be_visible()
    elif view == "filters":
        page.get_by_role("button", name="Filters").click()
    elif view == "help":
        page.keyboard.press("?")
    elif view == "nothing":
        page.goto("/?q=clock&language=none")
        expect(page.locator("#notice")).to_contain_text("No files match the filters")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_the_first_load_is_small_and_nothing_shifts(page: Page) -> None:
    page.add_init_script(
        """window.shifted = 0;
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) shifted += entry.value;
        }).observe({type: "layout-shift", buffered: true});"""
    )
    page.goto("/?q=a ticking clock")
    answered(page)  # no click: what a click unfolds moves other elements on purpose
    page.wait_for_load_state("networkidle")
    assert page.evaluate("shifted") < 0.05
    sizes = page.evaluate(
        """performance.getEntries()
            .filter((one) => one.encodedBodySize && !/[/]v1[/]/.test(one.name))
            .map((one) => one.encodedBodySize)"""
    )
    assert 3 < len(sizes) < 12
    assert sum(sizes) < 60_000


@pytest.mark.parametrize(
    ("path", "first"), [("/", "GET /v1/assets"), ("/?q=bread", "POST /v1/search")]
)
def test_what_is_shown_first_is_asked_for_once_and_before_the_modules_are_there(
    page: Page, path: str, first: str
) -> None:
    asked: list[str] = []
    page.on("request", lambda one: asked.append(f"{one.method} {urlsplit(one.url).path}"))
    held: list[Route] = []
    page.route("**/js/main.js", lambda route: held.append(route))
    page.goto(path, wait_until="commit")
    while not (held and {first, "GET /v1/info"} <= set(asked)):
        page.wait_for_timeout(50)
    held[0].continue_()
    expect(hits(page).first).to_be_visible()
    assert [asked.count(one) for one in (first, "GET /v1/info")] == [1, 1]


def test_the_page_lets_nothing_from_elsewhere_in(page: Page) -> None:
    answer = page.goto("/")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    read = """html => new DOMParser().parseFromString(html, "text/html")
        .querySelectorAll("[style], style, script:not([src])").length"""
    assert page.evaluate(read, answer.text()) == 0


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
