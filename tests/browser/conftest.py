"""The page in Debian's Chromium, against `anymodal serve` with the real bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.executable import chromium_path
from tests.browser.library import make_library, recorded_sound
from tests.browser.server import Server, serving
from tests.browser.watch import tab


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of texts, pictures, sounds and a film with three scenes."""
    return make_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def server(
    library: Path, bundle_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server over the library, which needs no key."""
    assert bundle_home.is_dir()
    with serving(tmp_path_factory.mktemp("served"), library) as server:
        yield server


@pytest.fixture(scope="session")
def chromium(library: Path) -> Iterator[Browser]:
    """Chromium, whose microphone hears a clock tick."""
    found = chromium_path()
    arguments = [
        "--no-sandbox",
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={recorded_sound(library)}",
    ]
    expect.set_options(timeout=30_000)  # a busy machine is not the page's fault
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def expected() -> list[str]:
    """Parts of the console messages that a test provokes; the test fills the list."""
    return []


@pytest.fixture
def page(chromium: Browser, server: Server, expected: list[str]) -> Iterator[Page]:
    """A fresh tab on the page; afterwards nothing may have gone wrong in it."""
    with tab(chromium, server, expected, permissions=["microphone"]) as page:
        yield page
