from __future__ import annotations

import numpy as np

from benchmarks.retrieval.hybrid import Asked, Corpus, by_words, figures, mixed, reciprocal_ranks
from encoder.space import Space
from encoder.types import IMAGE, TEXT
from search.store.memory import MemoryStore
from search.types import SegmentRow

ROWS = np.eye(8, dtype=np.float32)
WORDS = ["an oven", "a boat", "a pump", "a road"]


def corpus(answer: str, words: str, query: np.ndarray) -> Corpus:  # type: ignore[type-arg]
    store = MemoryStore(8)
    texts = [SegmentRow(f"t{n}", f"t{n}", TEXT, 0, ROWS[n], snippet=WORDS[n]) for n in range(4)]
    images = [SegmentRow(f"i{n}", f"i{n}", IMAGE, 0, ROWS[n + 4]) for n in range(4)]
    store.write([], [*texts, *images])
    return Corpus(store, Space(8, {}, {}), [Asked(words, query.astype(np.float32), answer)])


def test_words_find_what_vectors_miss() -> None:
    rows = by_words(corpus("t2", "pump", ROWS[0] + 0.9 * ROWS[2]))
    figures_of = {name: numbers for name, *numbers in rows}
    assert figures_of["vectors alone"] == ["0.631", "0.000", "0.500"]
    assert figures_of["words alone"] == figures_of["weight 2"] == ["1.000", "1.000", "1.000"]


def test_words_bury_no_picture_but_by_reciprocal_rank() -> None:
    query = ROWS[4] + 0.5 * ROWS[0] + 0.4 * ROWS[2]
    rows = {way: numbers for way, *numbers in mixed(corpus("i0", "pump boat", query), 2.0)}
    assert rows["with words, as `search` does"] == rows["vectors alone"]
    assert rows["with words, by reciprocal rank"][1] == "0.000"


def test_what_several_lists_have_ranks_first() -> None:
    assert reciprocal_ranks([["a", "b"], ["b", "c"]]) == ["b", "a", "c"]


def test_one_right_answer_gives_one_gain() -> None:
    assert figures([0, 1, 10**6]) == ("0.544", "0.333", "0.500")
