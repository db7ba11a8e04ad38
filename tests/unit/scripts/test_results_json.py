"""Machines read the same results as people."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.quote_results import RESULTS
from scripts.results_json import main


def test_all_sections_and_the_front_page_are_in_it(tmp_path: Path) -> None:
    main(str(tmp_path / "results.json"))
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["front"]["rows"]
    text = "".join(page.read_text() for page in RESULTS.with_name("results").glob("*.md"))
    assert {one["title"] for one in found["sections"]} == {
        line[3:] for line in text.splitlines() if line.startswith("## ")
    }


def test_a_figure_is_where_its_heading_is(tmp_path: Path) -> None:
    main(str(tmp_path / "results.json"))
    found = json.loads((tmp_path / "results.json").read_text())
    (section,) = [one for one in found["sections"] if one["title"] == "Search API: latency"]
    assert section["page"] == "search"
    assert "2026-" in section["origin"]
    for table in section["tables"]:
        assert {len(row) for row in table["rows"]} == {len(table["headings"])}
