"""What a program over a folder used and found is read from its processes and its output."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from benchmarks.products.__main__ import _body, _ways
from benchmarks.products.measure import Run, in_turns, run
from scripts.quote_results import PAGES, ROOT

PROGRAM = """
import subprocess, sys
print("opened", flush=True); sys.stdin.readline()
subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"])
print("noise"); print("stored", flush=True); sys.stdin.readline()
print('{"unread": ["a.eml"], "found": {}}')
"""


def test_a_program_is_measured_with_its_children(tmp_path: Path) -> None:
    found = run([sys.executable, "-c", PROGRAM], tmp_path / "log")
    assert found.said == {"unread": ["a.eml"], "found": {}}
    assert found.open_cpu_s >= 0
    assert found.store_cpu_s > 0  # of the child, which ended


def test_a_program_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="never printed 'opened'"):
        run([sys.executable, "-c", "print(1)"], tmp_path / "log")


def test_a_question_is_answered_by_any_of_its_files() -> None:
    asked = {"sounds": [("rain", ["1.ogg", "2.ogg"]), ("dog", ["3.ogg"])]}
    answers = {"sounds": [["2.ogg", "3.ogg"], ["1.ogg", "3.ogg"]]}
    one = Run(1.0, 3.0, 5 * 1024**2, {"unread": ["b.eml"], "found": answers})
    body = _body({"ours": [one]}, asked, 8)
    assert "| ours | 1.75 | 2.33 | 2.33–2.33 | 5 | 1 (.eml) |" in body
    assert "| ours | 0.500 | 1.000 |" in body


def test_a_product_that_fails_takes_no_other_with_it() -> None:
    def measured(way: str) -> Run:
        if way == "broken":
            raise RuntimeError("it ended with 1")
        return Run(1.0, 1.0, 1, {})

    turns = in_turns(["first", "broken", "last"], 2, measured)
    assert list(next(turns)) == ["first"]  # before the others ran
    runs = [next(turns) for _ in range(3)][-1]
    assert {way: len(some) for way, some in runs.items()} == {"first": 2, "last": 2}
    with pytest.raises(SystemExit, match="broken"):
        next(turns)


def test_products_have_the_names_that_pages_quote_and_the_makefile_s_versions() -> None:
    makefile = (ROOT / "Makefile").read_text()
    pages = "".join(page.read_text() for page in PAGES)
    quoted = set(re.findall(r"Beside others: a mixed folder · ([^·]+) ·", pages))
    ways = _ways(["txtai", "vectrixdb"])
    assert quoted <= set(ways)
    for name, version in (way.split() for way in list(ways)[-2:]):
        assert re.search(rf"{name.lower()}\[[\w,]+\]=={version}", makefile)
