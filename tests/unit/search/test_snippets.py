from __future__ import annotations

import pytest

from search.ranking.snippets import snippet

TEXT = (
    "In the morning nothing moves. " * 20 + "Then a red ferry leaves the harbour. " + "Gulls. " * 30
)


def marked(text: str, *queries: str, max_chars: int = 60) -> list[str]:
    found = snippet(text, queries, max_chars)
    return [found.text[start:end] for start, end in found.matches]


def test_the_window_lies_around_the_words_of_the_query() -> None:
    found = snippet(TEXT, ["ferries in a harbour"], 60)
    assert "red ferry leaves the harbour" in found.text
    assert found.text.startswith("…")
    assert found.text.endswith("…")
    assert marked(TEXT, "ferries in a harbour") == ["ferry", "harbour"]


def test_a_short_text_is_shown_whole() -> None:
    assert snippet("A café.", ["CAFE"]).text == "A café."
    assert marked("A café.", "CAFE") == ["café"]


def test_without_a_match_the_beginning_is_shown() -> None:
    assert snippet(TEXT, ["zebra"], 32).text == "In the morning nothing moves. In…"
    assert snippet(TEXT, [], 32).matches == ()


def test_a_combining_sign_is_not_a_word() -> None:
    assert marked("A boat.", "\uff9e") == []  # the halfwidth voiced sound mark


def test_function_words_are_marked_only_if_nothing_else_is_asked_for() -> None:
    assert marked("To be or not to be, the question.", "the question") == ["question"]
    assert marked("To be, the question.", "to be") == ["To", "be"]


def test_rare_words_weigh_more_than_frequent_ones() -> None:
    text = "sea sea sea sea " * 10 + "and then at last, the lighthouse stands there. " + "x " * 50
    assert "lighthouse" in snippet(text, ["sea lighthouse"], 20).text


def test_characters_of_chinese_match_each() -> None:
    assert marked("我喜欢大海和沙滩。", "大海") == ["大", "海"]


@pytest.mark.parametrize("max_chars", [1, 5, 10])
def test_a_word_longer_than_the_window_is_cut(max_chars: int) -> None:
    assert len(snippet("x" * 100, ["x" * 100], max_chars).text) <= max_chars + 2
