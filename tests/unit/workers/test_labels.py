"""Tags and metadata of the command line."""

from __future__ import annotations

import pytest

from encoder.errors import InputError
from workers.cli.ingest import read_labels


def test_what_is_json_is_read_as_such_and_the_rest_is_text() -> None:
    pairs = ["n=3", "share=0.5", "ok=true", "none=null", 'list=["a", 1]', "zip=01234", "a=b=c"]
    labels = read_labels([], [*pairs, "title=2001", "odd=NaN", "empty="])
    assert labels == {
        "n": 3,
        "share": 0.5,
        "ok": True,
        "none": None,
        "list": ["a", 1],
        "zip": "01234",
        "a": "b=c",
        "title": "2001",
        "odd": "NaN",
        "empty": "",
    }


def test_tags_are_reported_once_and_an_empty_one_takes_them_away() -> None:
    assert read_labels(["sea", " night ", "sea"], []) == {"tags": ["sea", "night"]}
    assert read_labels([""], []) == {"tags": []}
    assert read_labels([], []) == {}


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        ("license", "KEY=VALUE"),
        ("=x", "KEY=VALUE"),
        ("width=3", "set by the file"),
        ("look=AAAA", "set by the file"),
        ("read_by=me", "set by the file"),
        ("tags=a", "--tag"),
        ("note=" + "x" * 40_000, "32,768 bytes at most"),
    ],
)
def test_what_cannot_be_noted_is_refused(pair: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_labels([], [pair])
