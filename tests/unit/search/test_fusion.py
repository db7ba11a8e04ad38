"""How candidates become a list: fused, ranked, grouped, sorted, with the words that match."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.space import Calibration, Space
from encoder.types import AUDIO, IMAGE, TEXT, Modality
from search.lexical.rarity import Frequencies, QueryWords
from search.query.sorting import check_sort, order_of
from search.query.word_search import WordMatch, shares_held
from search.ranking.fusion import (
    FusedQuery,
    RankedSegment,
    fuse_terms,
    rank,
    score_segments,
    with_all_of_identical,
    with_words,
    words_gain,
)
from search.ranking.grouping import by_asset
from search.ranking.snippets import snippet
from search.types import AssetRow, ScoredSegment

SPACE = Space(2, {}, {IMAGE: Calibration(0.5, 0.1), TEXT: Calibration(0.1, 0.2)})
ONE = FusedQuery(np.array([1, 0], np.float32))


def found(segment_id: str, cosine: float, modality: Modality = TEXT) -> ScoredSegment:
    return ScoredSegment(segment_id, segment_id, modality, cosine)


def scored(*segments: ScoredSegment) -> list[RankedSegment]:
    return score_segments(segments[0].modality, segments, ONE, SPACE)


def ids(candidates: list[RankedSegment]) -> list[str]:
    return [candidate.segment.segment_id for candidate in candidates]


@pytest.mark.parametrize("weights", [[1, 1], [1, -1]])
def test_terms_that_cancel_each_other_out_are_refused(weights: list[float]) -> None:
    rows = np.array([[1, 0], [-weights[1], 0]], np.float32)
    with pytest.raises(InputError, match="cancel"):
        fuse_terms(rows, weights)


def test_a_modality_without_constants_keeps_its_cosines() -> None:
    assert scored(found("a", 0.25, AUDIO))[0].score == 0.25


def test_the_same_content_stays_before_what_words_find() -> None:
    dense = scored(found("same", 1.0), found("b", 0.5))
    fused = with_words(dense, {"b": WordMatch(1, 9.0, 1.0)})
    assert ids(rank(fused)) == ["b", "same"]
    assert ids(rank(with_all_of_identical(fused))) == ["same", "b"]


def test_the_same_words_are_identical_though_tokens_of_one_text_were_merged() -> None:
    query = replace(ONE, content="the ferry leaves at nine.")
    merged = found("same", 0.97)._replace(snippet="The ferry leaves\nat nine.")
    ranked = score_segments(TEXT, [found("other", 0.98), merged], query, SPACE)
    assert [(one.segment.segment_id, one.is_identical) for one in ranked] == [
        ("same", True),
        ("other", False),
    ]


def test_a_rare_word_counts_in_full_and_common_words_hardly() -> None:
    """Most of a question's words are in any text; the one that a single text holds names it."""
    frequencies = Frequencies(300, {"the": 250, "of": 240, "aristotle": 1, "life": 60})
    query_words = QueryWords("the life of aristotle", frequencies)
    texts = ["The life of a clown", "Aristotle", "aristotle, of the academy, and his life"]
    shares = query_words.held(texts) @ query_words.weights
    common, rare, whole = map(words_gain, shares.tolist())
    assert common < 0.2 < 1.0 < rare < whole == pytest.approx(4.0)


def test_quoted_words_count_in_this_order_only() -> None:
    query_words = QueryWords('"night train"', Frequencies(100, {"night": 3, "train": 3}))
    held = query_words.held(["The NIGHT\ntrain to Ischl", "a train at night", "night trains"])
    assert held[:, 0].tolist() == [1.0, 0.0, 0.0]


def test_words_in_neighbouring_passages_count_together() -> None:
    frequencies = Frequencies(300, {"rare": 1, "word": 1})
    passages = [
        passage("a", 0, "a rare thing"),
        passage("a", 500, "another word"),
        passage("a", 9000, "the last word"),
        passage("b", 400, "in another book a word"),
    ]
    shares = shares_held(QueryWords("rare word", frequencies), passages)
    assert shares == pytest.approx([1.0, 1.0, 0.5, 0.5])


def passage(asset_id: str, start: int, text: str) -> ScoredSegment:
    place = {"char_start": start, "char_end": start + 450}
    return ScoredSegment(f"{asset_id}{start}", asset_id, TEXT, 1.0, snippet=text, **place)


def candidate(segment_id: str, asset_id: str, score: float) -> RankedSegment:
    return RankedSegment(ScoredSegment(segment_id, asset_id, IMAGE, score), score)


RANKED = [
    candidate("m2", "film", 0.9),
    candidate("m1", "film", 0.7),
    candidate("p", "picture", 0.5),
    candidate("m3", "film", 0.2),
]


def test_of_one_kind_the_best_is_a_hit_and_others_are_moments() -> None:
    sound = RankedSegment(ScoredSegment("s", "film", AUDIO, 0.1), 0.1)
    (film,) = by_asset([*RANKED, sound], [AUDIO], 2)
    assert (film.key, film.best, film.moments) == ("film", sound, RANKED[:2])


ASSETS = [
    AssetRow("b", IMAGE, "image/png", 30, {}, ["/x/B.png"], {"taken": 20.0, "city": "bonn"}),
    AssetRow("c", IMAGE, "image/png", 20, {}, ["/y/A.png"], {"modified": 5.0}),
    AssetRow("a", IMAGE, "image/gif", 10, {}, ["/c.png"], {"taken": 10.0, "city": "Aachen"}),
    AssetRow("d", IMAGE, "image/png", 20, {}, ["/d.png"], {"taken": 20.0, "city": "Celle"}),
]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("taken", "abdc"),
        ("-taken", "bdac"),
        ("date", "cabd"),
        ("name", "cbad"),
        ("size_bytes", "acdb"),
        ("-size_bytes", "bcda"),
        ("media_type", "abcd"),
        ("city", "abdc"),
        ("rating", "bcad"),
    ],
)
def test_assets_are_sorted_by_a_field(sort: str, order: str) -> None:
    assert "".join(ASSETS[place].asset_id for place in order_of(ASSETS, sort)) == order


@pytest.mark.parametrize("sort", ["nonsense", "tags", "--taken", "path"])
def test_what_cannot_be_sorted_by_is_refused_with_what_can(sort: str) -> None:
    with pytest.raises(InputError, match=r"camera_model.*taken"):
        check_sort(sort)


FERRY = (
    "In the morning nothing moves. " * 20 + "Then a red ferry leaves the harbour. " + "Gulls. " * 30
)


def marked(text: str, *queries: str, max_chars: int = 60) -> list[str]:
    found = snippet(text, queries, max_chars)
    return [found.text[start:end] for start, end in found.matches]


def test_the_window_lies_around_the_words_of_the_query() -> None:
    found = snippet(FERRY, ["ferries in a harbour"], 60)
    assert "red ferry leaves the harbour" in found.text
    assert found.text.startswith("…")
    assert found.text.endswith("…")
    assert marked(FERRY, "ferries in a harbour") == ["ferry", "harbour"]


def test_a_short_text_is_shown_whole() -> None:
    assert snippet("A café.", ["CAFE"]).text == "A café."
    assert marked("A café.", "CAFE") == ["café"]


def test_without_a_match_the_beginning_is_shown() -> None:
    assert snippet(FERRY, ["zebra"], 32).text == "In the morning nothing moves. In…"
    assert snippet(FERRY, [], 32).matches == ()


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
