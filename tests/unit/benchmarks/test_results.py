"""Sections go to their pages, and the front page leads to all of them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.harness.results_pages import FOLDER, write_section
from scripts.quote_results import RESULTS

ROOT = FOLDER.parent.parent


def test_a_section_goes_to_the_page_of_its_title(tmp_path: Path) -> None:
    write_section("Search API: latency", "make bench-api", "9 ms", tmp_path)
    write_section("Search API: load", "make bench-api", "8 answers", tmp_path)
    write_section("Search API: latency", "make bench-api", "7 ms", tmp_path)
    write_section("Weather", "true", "rain", tmp_path)
    page = (tmp_path / "search.md").read_text()
    assert re.findall("^## (.*)", page, re.MULTILINE) == ["Search API: latency", "Search API: load"]
    assert "7 ms" in page
    assert "9 ms" not in page
    assert "rain" in (tmp_path / "others.md").read_text()


def test_a_section_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "old.md").write_text("# Old\n\n## Search API: latency\n\n9 ms\n")
    write_section("Search API: latency", "make bench-api", "7 ms", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["old.md"]


def test_the_front_page_leads_to_all_pages() -> None:
    pages = {f"results/{path.name}" for path in FOLDER.glob("*.md")}
    assert set(re.findall(r"\((results/\w+\.md)\)", RESULTS.read_text())) == pages


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.name)
def test_the_site_has_the_page(page: Path) -> None:
    stub = ROOT / "docs" / "results" / page.name
    assert f'"benchmarks/results/{page.name}"' in stub.read_text()


def test_the_commands_that_pages_name_exist() -> None:
    """One that names a package runs its ``__main__``; results are as old as their date."""
    pages = [ROOT / "Makefile", *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    text = "\n".join(page.read_text() for page in pages)
    for name in set(re.findall(r"python -m (benchmarks\.[a-z_.]*[a-z])", text)):
        spec = find_spec(name)
        assert spec, name
        assert not spec.submodule_search_locations or find_spec(f"{name}.__main__"), name
