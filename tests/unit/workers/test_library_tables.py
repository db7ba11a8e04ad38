"""What is stored, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.console import Console

from encoder.types import IMAGE, TEXT
from search.store.memory import MemoryStore
from search.types import AssetRow, SegmentRow
from workers.beside.listing import counted, described, listed
from workers.cli.library import info_lines, list_lines, stats_lines

ASK = {"conditions": (), "tags": (), "path": None, "modality": "", "limit": 2, "page": ""}


def store() -> MemoryStore:
    store = MemoryStore(4)
    facts = {"modified": 1e9, "language": "de"}
    row = SegmentRow("s", "a", TEXT, 0, np.array([1, 0, 0, 0], np.float32), snippet="Guten Tag")
    assets = [
        AssetRow("a", TEXT, "text/plain", 1500, 1, ["/x/[red]a.txt", "/y/a.txt"], facts),
        AssetRow("b", IMAGE, "image/png", 2, 0, ["/x/b.png"], {"taken": 1.5e9}),
        AssetRow("c", IMAGE, "image/png", 3, 0, ["/x/c.png"], {"gone_since": 1.0}),
    ]
    store.write(assets, [row])
    return store


def printed(lines: Iterator[object]) -> str:
    screen = Console(record=True, width=120, highlight=False)
    for line in lines:
        screen.print(line)
    return screen.export_text()


def test_a_list_shows_sizes_dates_and_the_next_page() -> None:
    text = printed(list_lines(listed(ASK, store())))
    assert "1.5 kB" in text
    assert "2001-09-09" in text
    assert "[red]a.txt" in text
    assert "--page b" in text
    assert "gone" in printed(list_lines(listed({**ASK, "page": "b"}, store())))
    assert "No stored assets match" in printed(list_lines(listed({**ASK, "page": "z"}, store())))


def test_counts_are_by_kind_language_and_year() -> None:
    found = counted(store())
    assert (found["assets"], found["places"], found["gone"]) == (3, 4, 1)
    assert (found["oldest"], found["newest"]) == ("2001-09-09", "2017-07-14")
    text = printed(stats_lines(found))
    assert "languages: de 1" in text
    assert "years: 2001 1, 2017 1" in text


def test_an_asset_is_shown_by_its_id_or_place_with_its_segments() -> None:
    assert described(store(), "a") == described(store(), "/y/a.txt")
    text = printed(info_lines(described(store(), "a")))
    assert "/y/a.txt" in text
    assert "snippet Guten Tag, vectors 1" in text
