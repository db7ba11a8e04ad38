"""Files of a kind from a third-party package, in the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.acts import drop, hits, kinds, results, search, titles, until
from tests.browser.server import Server, serving
from tests.support import points_package
from tests.support.points_package import write_points


@pytest.fixture(scope="module")
def server(bundle_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server where the package is installed, over two of its files and a text."""
    assert bundle_home.is_dir()
    site, library = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("clouds")
    points_package.install(site, tower=True)
    write_points(library / "rod.pts", 40.0)
    write_points(library / "ball.pts")
    (library / "bread.txt").write_text("Knead the dough, then bake the loaf in a hot oven.")
    with serving(tmp_path_factory.mktemp("served"), library, PYTHONPATH=str(site)) as server:
        yield server


@pytest.mark.slow
def test_a_file_of_another_kind_is_seen_searched_with_and_added(page: Page, tmp_path: Path) -> None:
    page.goto("/")
    cloud = write_points(tmp_path / "stick.pts", 40.0)
    drop(page, "search", [cloud])
    results(page)
    chip = page.locator(".chip")
    expect(chip).to_have_text("stick.pts")
    expect(chip.locator("svg path")).to_have_attribute("d", re.compile("^M12 3.5"))
    assert titles(page)[0] == "rod"
    tile = hits(page).first
    expect(tile).to_have_attribute("data-kind", "points")
    expect(tile.locator(".facts")).to_contain_text("Point cloud")
    until(page, "document.querySelector('.hit img').naturalWidth > 0")
    page.reload()
    results(page)
    assert titles(page)[0] == "rod"

    search(page, "a round ball")
    page.get_by_role("checkbox", name="Point clouds").check()
    expect(page).to_have_url(re.compile("in=points"))
    results(page)
    assert (titles(page)[0], kinds(page)) == ("ball", {"points"})
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Match").select_option("point clouds only")
    expect(page).to_have_url(re.compile("match=points"))

    added = write_points(tmp_path / "pole.pts", 90.0)
    drop(page, "add", [added])
    expect(page.locator(".job").first).to_contain_text("1 added", timeout=60_000)
    expect(page.locator("#formats")).to_contain_text("PTS")
    search(page, "pole")
    hits(page).filter(has_text="pole").first.locator("a.open").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("model/pts")
    until(page, "document.querySelector('dialog .drawn img')?.naturalWidth > 0")


@pytest.mark.slow
def test_a_file_dropped_early_gets_its_sign_later(page: Page, tmp_path: Path) -> None:
    held: list[Route] = []
    page.route("**/v1/info", lambda route: held.append(route))
    page.goto("/")
    drop(page, "search", [write_points(tmp_path / "stick.pts", 40.0)])
    chip = page.locator(".chip")
    expect(chip).to_have_text("stick.pts")
    expect(chip.locator("svg use")).to_have_attribute("href", re.compile("#attach$"))
    for route in held:
        route.continue_()
    expect(chip.locator("svg path")).to_have_attribute("d", re.compile("^M12 3.5"))
