from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search.lexical import WordIndex, holds, terms
from search.lexical.analysis import _marks, words
from search.lexical.index import IndexedText


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("Don't stop_now, HX-4711!", ["don", "t", "stop", "now", "hx", "4711"]),
        ("ÉTÉ été e\u0301te\u0301 ＥＴＥ", ["ete"] * 4),
        ("Straße STRASSE ﬁn", ["strasse", "strasse", "fin"]),
        ("Ёлка Ἀθήνα", ["елка", "αθηνα"]),
        ("한국어 검색", ["한국어", "검색"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("が", ["が"]),
        ("東京x1", ["東", "東京", "京", "x1"]),
        ("ไทย", ["ไ", "ไท", "ท", "ทย", "ย"]),
        ("a" * 100, ["a" * 64]),
    ],
)
def test_words_of_any_language(text: str, wanted: list[str]) -> None:
    assert words(text) == wanted
    assert words(" ".join(wanted)) == wanted or "東" in text or "ไ" in text


@given(st.text())
def test_what_lets_words_be_found_faster_changes_none(text: str) -> None:
    assert words(f"{text} 東") == [*words(text), "東"]


@given(st.text(), st.text("ab é東_-1"), st.text("ab é東_-1"))
@example("zebra", "zebras", "zebr zebu")
@example("", "aaaaa1", "aaaaaaa")
@example("", "aaaaabé", "aaaaa")
def test_a_text_holds_what_is_among_its_terms(any_text: str, some: str, other: str) -> None:
    for text, wanted in [(any_text, terms(some)), (some, terms(other)), (some, terms(some))]:
        assert holds(text, wanted) == (not set(wanted).isdisjoint(terms(text)))
    assert not holds(any_text, [])


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Die Mitgliedschaft endet im Mai.", "Mitglieder"),
        ("Она была в библиотеке", "библиотека"),
        ("The libraries are closed.", "library"),
        ("Die Bundesregierung tagt.", "Bundestag"),
    ],
)
def test_other_forms_of_a_word_are_found_behind_the_word_itself(text: str, query: str) -> None:
    index = WordIndex(in_memory=True)
    index.add(
        [
            IndexedText("form", "a", text),
            IndexedText("word", "b", query),
            IndexedText("other", "c", "Nothing."),
        ]
    )
    index.commit()
    assert [hit.segment_id for hit in index.find(query, 5)] == ["word", "form"]


def test_numbers_have_no_other_forms() -> None:
    assert terms("HX4711a 20261126") == ["hx4711a", "20261126"]


def test_texts_are_found_while_others_are_read_to_be_added() -> None:
    index = WordIndex(in_memory=True)
    index.add([IndexedText("one", "a", "a zeppelin")])
    index.commit()
    reading, found = Event(), Event()

    def texts() -> Iterator[IndexedText]:
        yield IndexedText("two", "b", "another zeppelin")
        reading.set()
        assert found.wait(60)

    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(index.add, texts())
        assert reading.wait(60)
        assert [hit.segment_id for hit in index.find("zeppelin", 5)] == ["one"]
        found.set()
        adding.result()
    assert len(index.find("zeppelin", 5)) == 1
    index.commit()
    assert len(index.find("zeppelin", 5)) == 2


@pytest.mark.slow
def test_marks_are_found_in_all_planes_that_have_some() -> None:
    everywhere = map(chr, range(sys.maxunicode + 1))
    marks = {char for char in everywhere if unicodedata.category(char)[0] == "M"}
    pattern = re.compile(f"[{_marks()}]")
    assert {char for char in map(chr, range(sys.maxunicode + 1)) if pattern.match(char)} == marks
