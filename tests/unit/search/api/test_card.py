"""Documents as cards."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.types import TEXT
from search.api.responses.card import card_of
from search.types import AssetRow

_XHTML = "{http://www.w3.org/1999/xhtml}"


def _card(
    text: str, media_type: str = "text/markdown", name: str = "notes.md"
) -> ElementTree.Element:
    asset = AssetRow("a", TEXT, media_type, 1, 1, [f"/library/{name}"])
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
