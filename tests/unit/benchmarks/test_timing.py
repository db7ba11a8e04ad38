from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.results_pages import FOLDER, write_section
from benchmarks.harness.timing import (
    Ratio,
    Times,
    on_one_core,
    peak_resident_bytes,
    resident_bytes,
    take_turns,
)
from scripts.quote_results import RESULTS
from scripts.results_json import main


def test_each_candidate_warms_up_and_runs_in_every_round() -> None:
    calls: list[str] = []
    ticks = count()
    times = take_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        n_rounds=5,
        n_warm_up=2,
        clock=lambda: float(next(ticks)),
    )
    assert Counter(calls) == {"a": 7, "b": 7}
    rounds = [set(calls[i : i + 2]) for i in range(4, len(calls), 2)]
    assert rounds == [{"a", "b"}] * 5
    np.testing.assert_array_equal(times.seconds, np.ones((2, 5)))


def test_the_order_within_rounds_varies() -> None:
    calls: list[str] = []
    take_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, n_rounds=20, n_warm_up=0
    )
    assert {"".join(calls[i : i + 2]) for i in range(0, 40, 2)} == {"ab", "ba"}


def test_speedup_compares_within_a_round() -> None:
    seconds = np.array([[0.4, 4.0, 0.4], [0.1, 1.0, 0.1]])
    times = Times(("slow", "fast"), seconds)
    assert times.speedup("fast", "slow") == Ratio(4.0, 4.0, 4.0)
    assert times.median_ms("fast") == pytest.approx(100)


def test_pinned_to_one_core_and_back() -> None:
    before = os.sched_getaffinity(0)
    with on_one_core() as core:
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before


def test_memory_of_another_process() -> None:
    code = "held = bytearray(64 * 2**20); print(len(held), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        now = resident_bytes(process.pid)
        assert 64 * 2**20 < now <= peak_resident_bytes(process.pid)
        process.communicate(b"\n")


def test_memory_of_this_process() -> None:
    assert 2**20 < resident_bytes() <= peak_resident_bytes()


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
