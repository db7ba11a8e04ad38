"""A document opens where it was found: its passage, or its page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.browser.acts import search, until
from tests.browser.server import Server, serving
from tests.support.documents import (
    Sections,
    write_docx,
    write_mail,
    write_odf,
    write_xlsx,
)
from tests.support.media import write_pdf_lines

FILLER = "The committee met again and read the minutes of the meeting before it. " * 6
SOUGHT = "The narwhal swims below the ice of Baffin Bay."
SECTIONS = [(f"Chapter {n}", f"{n}: {FILLER}") for n in range(30)]
SECTIONS[24] = ("Chapter 24", f"{FILLER} {SOUGHT}")
N_PAGES, FOUND_PAGE = 5, 4


def write_html(path: Path, sections: Sections) -> Path:
    body = "".join(f"<h2>{heading}</h2><p>{text}</p>" for heading, text in sections)
    path.write_text(f"<title>Notes</title>{body}")
    return path


def write_code(path: Path, sections: Sections) -> Path:
    functions = (
        f'def step_{n}():\n    """{text.strip()}"""\n    return {n}\n'
        for n, (_, text) in enumerate(sections)
    )
    path.write_text("\n\n".join(functions))
    return path


def write_long_sheet(path: Path, sections: Sections) -> Path:
    return write_xlsx(path, [(heading.replace(" ", ""), text) for heading, text in sections])


def write_report(path: Path) -> Path:
    """Five pages of a few lines; the sought one is at the foot of the fourth."""
    import pypdfium2

    report = pypdfium2.PdfDocument.new()
    for number in range(1, N_PAGES + 1):
        lines = [(60.0, 760.0 - 20 * n, f"Page {number}, line {n} of it.") for n in range(20)]
        if number == FOUND_PAGE:
            lines.append((60.0, 70.0, SOUGHT))
        single = write_pdf_lines(path.with_suffix(".page"), lines)
        with pypdfium2.PdfDocument(single) as document:
            report.import_pages(document)
        single.unlink()
    report.save(path)
    return path


WRITERS: dict[str, Callable[[Path, Sections], Path]] = {
    "notes.docx": write_docx,
    "notes.odt": write_odf,
    "notes.html": write_html,
    "notes.eml": write_mail,
    "notes.xlsx": write_long_sheet,
    "notes.py": write_code,
}


@pytest.fixture(scope="module")
def server(bundle_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over one long document of each kind."""
    assert bundle_home.is_dir()
    library = tmp_path_factory.mktemp("documents")
    for name, write in WRITERS.items():
        write(library / name, SECTIONS)
    write_report(library / "report.pdf")
    with serving(tmp_path_factory.mktemp("served"), library) as server:
        yield server


def opened(page: Page, name: str) -> Locator:
    search(page, SOUGHT)
    page.locator(".hit", has_text=name).locator("a.open").click()
    return page.get_by_role("dialog")


@pytest.mark.parametrize("name", WRITERS)
def test_the_passage_is_in_view_and_marked_in_the_whole_text(page: Page, name: str) -> None:
    dialog = opened(page, name)
    text = dialog.get_by_role("region", name="Text")
    passage = text.locator(".best")
    expect(passage).to_contain_text(SOUGHT)
    expect(passage.locator("mark", has_text="narwhal")).to_be_in_viewport()
    expect(text.locator("p")).not_to_have_count(1)
    text.evaluate("prose => prose.scrollTop = 0")
    expect(text).to_contain_text("0: The committee met")
    text.evaluate("prose => prose.scrollTop = prose.scrollHeight")
    expect(text).to_contain_text("29: The committee met")
    assert Axe().run(page).violations_count == 0


def test_a_page_is_as_wide_as_the_window_and_as_sharp_as_the_screen(page: Page) -> None:
    dialog = opened(page, "report")
    sheet = dialog.get_by_role("region", name="Page")
    picture = dialog.get_by_role("img", name=f"Page {FOUND_PAGE}")
    expect(picture).to_be_visible()
    until(page, "document.querySelector('.page img').naturalWidth >= 1300")
    assert sheet.evaluate("sheet => sheet.clientWidth / innerWidth") > 0.9
    width = picture.evaluate("image => image.clientWidth")
    assert width == sheet.evaluate("sheet => sheet.clientWidth")
    assert picture.evaluate("image => image.naturalWidth") >= 0.9 * width
    expect(dialog.locator(".boxes polygon")).to_be_in_viewport()  # at the foot of the page

    dialog.get_by_role("button", name="Larger").click()
    assert picture.evaluate("image => image.clientWidth") > width
    dialog.get_by_role("button", name="Next page").click()
    expect(dialog.get_by_role("img", name=f"Page {N_PAGES}")).to_be_visible()
    expect(dialog.get_by_role("button", name="Next page")).to_be_disabled()
    assert Axe().run(page).violations_count == 0


def test_one_goes_from_match_to_match(page: Page) -> None:
    search(page, "minutes of the meeting")
    page.locator(".hit", has_text="notes.docx").locator("a.open").click()
    dialog = page.get_by_role("dialog")
    best = dialog.locator(".best")
    expect(best).to_be_visible()
    first = best.inner_text()
    name = dialog.locator(".step-name").inner_text()
    go = (
        "Next match"
        if dialog.get_by_role("button", name="Next match").is_enabled()
        else "Previous match"
    )
    dialog.get_by_role("button", name=go).click()
    expect(best).not_to_have_text(first)
    expect(best.locator("mark").first).to_be_in_viewport()
    expect(dialog.locator(".step-name")).not_to_have_text(name)


def test_what_was_not_searched_for_is_read_from_its_beginning(page: Page) -> None:
    page.goto("/")
    page.locator(".hit", has_text="notes.odt").locator("a.open").click()
    text = page.get_by_role("dialog").get_by_role("region", name="Text")
    expect(text).to_contain_text("0: The committee met")
    expect(text).to_contain_text("5: The committee met")
