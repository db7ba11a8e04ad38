from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from search.ranking.snippets import snippet

texts = st.text(st.sampled_from("ab é海.\n"), max_size=80)


@given(texts, st.lists(texts, max_size=3), st.integers(1, 40))
def test_a_snippet_is_a_piece_of_the_text_with_its_matches(
    text: str, queries: list[str], max_chars: int
) -> None:
    found = snippet(text, queries, max_chars)
    bare = found.text.removeprefix("…").removesuffix("…")
    assert bare in text
    assert len(bare) <= max_chars
    assert (bare == text) == (found.text == text)
    ends = [0]
    for start, end in found.matches:
        assert ends[-1] <= start < end <= len(found.text)
        assert found.text[start:end].isalnum()
        ends.append(end)


@given(texts, texts, st.integers(5, 40))
def test_if_a_word_that_fits_matches_it_is_shown(text: str, query: str, max_chars: int) -> None:
    all_matches = snippet(text, [query], len(text) + 1).matches
    if any(end - start <= max_chars for start, end in all_matches):
        assert snippet(text, [query], max_chars).matches


english = st.text(st.sampled_from("abseyABSEY _-’“.\n1"), max_size=80)


@given(english, english)
def test_english_is_marked_as_if_it_stood_beside_another_language(text: str, query: str) -> None:
    alone = snippet(text, [query], 1000).matches
    assert alone == snippet(text + " ж", [query], 1000).matches
