"""The pictures of the page in docs/images, which `make screenshots` takes; no tests."""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.browser.acts import hits, paste, results, search, until
from tests.browser.library import INGESTED, sample
from tests.browser.server import Server, serving
from tests.browser.watch import tab

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
WRITTEN = Path(__file__).parent.parent / "data" / "written"
MAX_BYTES = 120_000
WIDTH = 1080
PHONE: ViewportSize = {"width": 390, "height": 844}
LANGUAGES = {"en": "en-GB", "de": "de-DE", "zh": "zh-CN"}
MONTH_S = 30 * 86_400
LOADING = """[...document.images].filter((one) => {
    const { top, bottom } = one.getBoundingClientRect();
    return !one.complete && bottom >= 0 && top <= innerHeight;
})"""


def take(page: Page, name: str, quality: int = 82) -> None:
    """Save a WebP of the visible page, once all pictures are loaded and nothing moves."""
    try:
        until(page, f"!{LOADING}.length")
    except AssertionError as error:
        left = page.evaluate(f"{LOADING}.map((one) => one.closest('.hit, dialog')?.outerHTML)")
        raise AssertionError(f"pictures that do not come: {left}") from error
    page.wait_for_load_state("networkidle")
    page.evaluate("document.documentElement.style.scrollbarGutter = 'auto'")  # a picture has none
    png = Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide")))
    png.thumbnail((WIDTH, 2 * WIDTH))
    path = IMAGES / f"{name}.webp"
    png.save(path, quality=quality, method=6)
    assert 5_000 < path.stat().st_size < MAX_BYTES


@pytest.fixture(scope="module")
def months(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over files of several months, among them documents, slides, a sheet and a mail."""
    home = tmp_path_factory.mktemp("months")
    files = [sample(library, name) for name in (*INGESTED, "bees.pdf", "crossword.webp")]
    files += [WRITTEN / name for name in ("writer.docx", "impress.pptx", "calc.xlsx")]
    (home / "library").mkdir()
    for place, file in enumerate(sorted(files, key=lambda file: file.suffix, reverse=True)):
        copy = Path(shutil.copy(file, home / "library"))
        os.utime(copy, (1_796_000_000 - place % 5 * MONTH_S,) * 2)
    mail = EmailMessage()
    mail["From"], mail["To"] = "Mina Okafor <mina@example.org>", "harbour@example.org"
    mail["Subject"], mail["Date"] = "The Thursday ferry", "Mon, 02 Nov 2026 09:12:00 +0000"
    mail.set_content(
        "Dear all,\n\nfrom next week on, the ferry leaves at nine, and not before sunrise. The "
        "timetable is on the pier.\n\nYours, Mina"
    )
    (home / "library" / "ferry.eml").write_bytes(mail.as_bytes())
    with serving(home, home / "library") as server:
        yield server


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    """Of the reader."""
    return str(request.param)


@pytest.fixture
def opened(chromium: Browser, months: Server, language: str) -> Iterator[Page]:
    """A tab of that reader."""
    with tab(chromium, months, locale=LANGUAGES[language]) as page:
        page.goto("/")
        expect(hits(page).first).to_be_visible()
        yield page


def document(page: Page) -> None:
    page.goto("/?q=honey from the nectar of flowers")
    answers(page)
    page.locator(".hit", has_text="bees").locator("a.open").click()
    until(page, "document.querySelector('dialog img')?.naturalWidth > 0")


def mail(page: Page) -> None:
    page.goto("/?q=when does the ferry leave")
    answers(page)
    page.locator(".hit", has_text="ferry.eml").locator("a.open").click()
    expect(page.get_by_role("dialog").locator(".because")).to_be_visible()


def film(page: Page) -> None:
    page.goto("/?q=a rocket takes off into space")
    answers(page)
    page.locator(".hit.video a.open").click()
    until(page, "document.querySelector('dialog video')?.readyState >= 2")
    page.get_by_role("dialog").locator("summary").click()
    expect(page.locator(".why table")).to_be_visible()
    page.wait_for_timeout(1_000)  # until the player no longer shows that it is loading


def answers(page: Page) -> None:
    """Wait for them, in any language."""
    expect(page.locator("html")).to_contain_class("asked")
    expect(hits(page).first).to_be_visible()


def library_of(page: Page) -> None:
    page.reload()  # now that it knows that there are files
    expect(hits(page).first).to_be_visible()


def found(page: Page) -> None:
    page.goto("/?q=a ticking clock")
    answers(page)
    page.locator(".hit").nth(1).hover()


SCENES: dict[str, Callable[[Page], None]] = {
    "home": library_of,
    "search": found,
    "document": document,
    "mail": mail,
    "film": film,
}


@pytest.mark.parametrize("scene", SCENES)
def test_what_each_reader_sees(opened: Page, language: str, scene: str) -> None:
    SCENES[scene](opened)
    take(opened, f"page-{scene}-{language}", 70)


def test_what_each_reader_sees_on_a_phone(chromium: Browser, months: Server, language: str) -> None:
    locale = LANGUAGES[language]
    touch = {"viewport": PHONE, "device_scale_factor": 1.5, "is_mobile": True, "has_touch": True}
    with tab(chromium, months, locale=locale, **touch) as page:
        page.goto("/?q=a ticking clock")
        answers(page)
        page.evaluate("document.activeElement.blur()")
        page.evaluate("scrollTo(0, 0)")
        take(page, f"page-phone-{language}", 70)


def test_in_the_dark(page: Page, library: Path) -> None:
    page.emulate_media(color_scheme="dark")
    search(page, "at what time does it leave?")
    paste(page, [sample(library, "wall-clock.png")])
    expect(page.locator(".chip img")).to_be_visible()
    results(page)
    page.locator("#timing").click()
    take(page, "page-dark")


def test_latency(page: Page, library: Path) -> None:
    picture = base64.b64encode(sample(library, "cat.png").read_bytes()).decode()
    for n in range(60):
        query = [{"text": f"a picture of {n} birds"}] if n % 5 else [{"image": picture}]
        assert page.request.post("/v1/search", data={"query": query}).ok
    page.goto("/?view=latency")
    expect(page.locator(".trend")).to_be_visible()
    page.wait_for_timeout(8_000)  # for a line that is more than two points
    take(page, "page-latency")
