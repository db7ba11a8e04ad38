"""Pictures of assets, cards of documents, and a page of a list."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import CorruptMediaError
from encoder.types import TEXT
from search.api.responses.card import card_of
from search.api.responses.thumbnails import Thumbnails
from search.types import AssetRow

ASSET = "ab" * 16


@pytest.mark.parametrize("size", [480, 64])
def test_what_is_being_made_is_not_made_a_second_time(tmp_path: Path, size: int) -> None:
    thumbnails = Thumbnails(tmp_path, 1000)
    begun, let = Event(), Event()
    made: list[bytes] = []

    def make() -> bytes:
        made.append(b"picture")
        begun.set()
        assert let.wait(60)
        return made[-1]

    with ThreadPoolExecutor() as pool:
        first = pool.submit(thumbnails.get, ASSET, 0.0, 1, size, make)
        assert begun.wait(60)
        others = [pool.submit(thumbnails.get, ASSET, 0.0, 1, size, make) for _ in range(3)]
        another = pool.submit(thumbnails.get, ASSET, 1.0, 1, size, lambda: b"another")
        assert another.result(60) == b"another"
        let.set()
        assert [one.result(60) for one in (first, *others)] == [b"picture"] * 4
    assert len(made) == 1


@pytest.mark.parametrize("size", [480, 64])
def test_a_late_request_finds_what_is_kept(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    thumbnails = Thumbnails(tmp_path, 1000)
    made_once = thumbnails._made_once

    def late(key: Any, make: Any) -> bytes:
        monkeypatch.setattr(thumbnails, "_made_once", made_once)
        assert thumbnails.get(ASSET, 0.0, 1, size, lambda: b"picture") == b"picture"
        return made_once(key, make)  # as a thread that has waited for its turn since it looked

    monkeypatch.setattr(thumbnails, "_made_once", late)
    assert thumbnails.get(ASSET, 0.0, 1, size, lambda: pytest.fail("again")) == b"picture"


def test_a_picture_that_failed_is_tried_again(tmp_path: Path) -> None:
    thumbnails = Thumbnails(tmp_path, 1000)

    def fail() -> bytes:
        raise CorruptMediaError("It is no picture.")

    with pytest.raises(CorruptMediaError, match="no picture"):
        thumbnails.get(ASSET, 0.0, 1, 480, fail)
    assert thumbnails.get(ASSET, 0.0, 1, 480, lambda: b"picture") == b"picture"


_XHTML = "{http://www.w3.org/1999/xhtml}"


def _card(
    text: str, media_type: str = "text/markdown", name: str = "notes.md"
) -> ElementTree.Element:
    asset = AssetRow("a", TEXT, media_type, 1, {TEXT: 1}, [f"/library/{name}"])
    return ElementTree.fromstring(card_of(asset, [text]))


@given(
    text=st.text(),
    name=st.text(min_size=1),
    media_type=st.sampled_from(["text/csv", "text/x-source", "text/html"]),
)
def test_any_text_makes_a_picture_that_runs_and_loads_nothing(
    text: str, name: str, media_type: str
) -> None:
    drawn = {element.tag.removeprefix(_XHTML) for element in _card(text, media_type, name).iter()}
    assert not drawn & {"script", "img", "a", "iframe", "link", "object", "embed", "base", "meta"}


@pytest.mark.parametrize(
    "text",
    [
        "![seen](http://x/y.png)",
        "<img src=x onerror=y>",
        "[here](javascript:z)",
        "<script>z()</script>",
    ],
)
def test_what_would_load_or_run_is_text(text: str) -> None:
    assert text in "".join(_card(text).itertext())


def test_marks_and_tables_are_drawn() -> None:
    card = _card("## Budget\n\n| what | cost |\n| --- | --- |\n| rent | 1150 |")
    assert [cell.text for cell in card.iter(f"{_XHTML}td")] == ["rent", "1150"]
    assert [heading.text for heading in card.iter(f"{_XHTML}h2")] == ["Budget"]
    rows = _card("name;price\npear;2,30", "text/csv", "fruit.csv")
    assert [cell.text for cell in rows.iter(f"{_XHTML}td")] == ["name", "price", "pear", "2,30"]
