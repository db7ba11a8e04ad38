"""A server that requires a key, and whose latency target cannot be met."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, Browser, Page, Route, expect

from tests.browser.acts import drop, hits, search, titles, until
from tests.browser.library import sample
from tests.browser.server import ANYMODAL, Server, environment, serving
from tests.browser.watch import tab

STRICT = {
    "ANYMODAL_STORE": "memory:",
    "ANYMODAL_API__REQUIRE_KEY": "true",
    "ANYMODAL_API__SLO_P95_MS": "0.001",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the strict server keeps its data."""
    return tmp_path_factory.mktemp("strict")


@pytest.fixture(scope="module")
def key(home: Path) -> str:
    """A key that may search and add."""
    words = [ANYMODAL, "keys", "create", "browser", "--scope", "read", "--scope", "write"]
    made = subprocess.run(
        words, env=environment(home, **STRICT), cwd=home, check=True, capture_output=True
    )
    return str(json.loads(made.stdout)["key"])


@pytest.fixture(scope="module")
def strict(home: Path, key: str, bundle_home: Path) -> Iterator[Server]:
    """The strict server, with nothing in it."""
    assert key
    assert bundle_home.is_dir()
    with serving(home, **STRICT) as server:
        yield server


@pytest.fixture
def locked(chromium: Browser, strict: Server) -> Iterator[Page]:
    """A fresh tab on the strict server."""
    with tab(chromium, strict, ["status of 401"]) as page:
        yield page


def test_a_key_is_asked_for_once_and_opens_pictures_too(
    locked: Page, key: str, library: Path
) -> None:
    locked.goto("/")
    dialog = locked.get_by_role("dialog", name="needs an API key")
    dialog.get_by_role("textbox", name="API key").fill("not-a-key")
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog).to_contain_text("not accepted")
    dialog.get_by_role("textbox", name="API key").fill(key)
    dialog.get_by_role("button", name="Use this key").click()
    expect(locked.locator("#notice")).to_contain_text("The library is empty")

    drop(locked, "add", [sample(library, "cat.png")])
    expect(locked.locator(".job").first).to_contain_text("1 added", timeout=60_000)
    search(locked, "a small furry pet")
    assert titles(locked) == ["cat"]
    until(locked, "document.querySelector('.hit img').naturalWidth > 0")
    assert key not in locked.evaluate("JSON.stringify(localStorage)")
    assert key not in locked.content()
    (cookie,) = locked.context.cookies()
    assert cookie["name"] == "anymodal_session"
    assert not set(key.split("_")[1:]) & set(cookie["value"].split("_"))
    assert key not in cookie["value"]

    locked.reload()
    expect(hits(locked)).to_have_count(1)
    expect(dialog).to_be_hidden()


def test_a_refusal_that_comes_late_does_not_ask_for_a_key_again(locked: Page, key: str) -> None:
    asked: list[Route] = []
    held: list[tuple[Route, APIResponse]] = []

    def hold_the_second(route: Route) -> None:
        asked.append(route)
        if len(asked) == 2:
            held.append((route, route.fetch()))
        else:
            route.continue_()

    locked.route("**/v1/latency", hold_the_second)
    locked.goto("/?view=latency")  # which asks every few seconds, also while a key is asked for
    dialog = locked.get_by_role("dialog", name="needs an API key")
    expect(dialog).to_be_visible()
    while not held:
        locked.wait_for_timeout(100)
    dialog.get_by_role("textbox", name="API key").fill(key)
    dialog.get_by_role("button", name="Use this key").click()
    expect(locked.locator("#slo")).not_to_be_empty()
    (route, refusal) = held[0]
    assert refusal.status == 401
    with locked.expect_response(lambda answer: answer.url.endswith("/v1/latency") and answer.ok):
        route.fulfill(response=refusal)
    expect(dialog).to_be_hidden()


def test_words_are_searched_for_that_come_before_the_session(locked: Page, key: str) -> None:
    held: list[Route] = []
    locked.add_init_script(f"sessionStorage.setItem('anymodal.key', '{key}')")
    locked.route("**/v1/session", lambda route: held.append(route))
    locked.goto("/")
    while not held:
        locked.wait_for_timeout(50)
    locked.get_by_role("searchbox").fill("anything")
    locked.keyboard.press("Enter")
    expect(locked).to_have_url(re.compile("q=anything"))
    held[0].continue_()
    expect(locked.locator("#timing")).to_be_visible()
    expect(locked.get_by_role("searchbox")).to_have_value("anything")


def test_without_a_key_the_page_says_what_to_do(locked: Page) -> None:
    locked.goto("/")
    locked.get_by_role("dialog").get_by_role("button", name="Not now").click()
    notice = locked.get_by_role("alert").filter(has_text=re.compile("key"))
    expect(notice).to_be_visible()
    expect(notice.get_by_role("button", name="Try again")).to_be_visible()


def test_a_missed_aim_is_red(locked: Page, key: str) -> None:
    locked.goto("/?q=anything")
    locked.get_by_role("textbox", name="API key").fill(key)
    locked.keyboard.press("Enter")
    expect(locked.locator("#timing")).to_be_visible()
    locked.keyboard.press("l")
    slo = locked.locator("#slo")
    expect(slo).to_contain_text("Target missed")
    red, green, blue = slo.evaluate(
        """slo => {
            const pen = document.createElement("canvas").getContext("2d");
            pen.fillStyle = getComputedStyle(slo).backgroundColor;
            pen.fillRect(0, 0, 1, 1);
            return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
        }"""
    )
    assert red > 2 * max(green, blue)
