"""What benchmarks/large_stores.md says follows from what was measured."""

from __future__ import annotations

from pathlib import Path

from scripts.scale_table import INDEXES, page
from search.store.milvus.indexes import KINDS

PAGE = Path(__file__).parents[2] / "benchmarks" / "large_stores.md"


def test_the_page_is_what_the_script_computes() -> None:
    assert PAGE.read_text() == f"{page()}\n", "run `python -m scripts.scale_table`"


def test_every_index_of_a_server_is_in_it() -> None:
    assert [one.name for one in INDEXES] == list(KINDS)
