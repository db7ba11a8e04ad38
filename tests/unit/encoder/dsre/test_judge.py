from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.dsre.cost import Shape, dense_flops, sparse_flops
from encoder.dsre.fitting.documents import (
    Document,
    as_document,
    part_of,
    parted,
    read_documents,
    sample_documents,
)
from encoder.dsre.fitting.judge import compare, search
from encoder.space import l2_normalize


def test_ranks_and_margins_by_hand() -> None:
    texts = l2_normalize(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    queries = l2_normalize(np.array([[1.0, 0.0], [1.0, 0.1]]))
    found = search(queries, texts, np.array([0, 1]))
    assert found.ndcg.tolist() == [1.0, 0.5]  # first, third
    assert found.margin[0] == pytest.approx(1 - np.sqrt(0.5), abs=1e-6)
    assert found.margin[1] == pytest.approx(queries[1, 1] - queries[1, 0], abs=1e-6)


def test_beyond_the_tenth_nothing_is_found_and_ties_count_against() -> None:
    texts = np.ones((11, 1), np.float32)
    assert search(texts[:1], texts[:10], np.array([0])).ndcg[0] == pytest.approx(1 / np.log2(11))
    assert search(texts[:1], texts, np.array([0])).ndcg[0] == 0.0


def test_loss_is_relative_and_nothing_if_nothing_changed() -> None:
    rng = np.random.default_rng(0)
    texts = l2_normalize(rng.normal(size=(400, 8)))
    queries = l2_normalize(texts + 0.3 * rng.normal(size=texts.shape))
    right = np.arange(400)
    dense = search(queries, texts, right)
    assert compare(dense, dense).ndcg == compare(dense, dense).margin == 0.0
    worse = search(queries, l2_normalize(texts + 0.2 * rng.normal(size=texts.shape)), right)
    loss = compare(dense, worse)
    assert loss.ndcg == pytest.approx(1 - worse.ndcg.mean() / dense.ndcg.mean())
    assert 0 < loss.error < loss.ndcg
    assert loss.margin > 0
    assert loss.n_queries == 400


SHAPE = Shape(n_layers=2, hidden_dim=4, ffn_dim=16)


def layer(before: int, after: int, *, asking: int | None = None) -> int:
    asking = before if asking is None else asking
    projections = 2 * 4 * 4 * (2 * before + 2 * asking)
    attention = 2 * 2 * before * asking * 4
    return projections + attention + 2 * 2 * 4 * 16 * after


def test_dense() -> None:
    assert dense_flops(SHAPE, [10, 3]).tolist() == [2 * layer(10, 10), 2 * layer(3, 3)]


def test_fewer_tokens_and_the_gate() -> None:
    gate = 2 * 4 * 5 * 5
    found = sparse_flops(SHAPE, [10], [[10, 6]], gated=[False, True])
    assert found.tolist() == [layer(10, 10) + layer(10, 6) + gate]


BODY = "The roof leaks where two slates have slipped, and the rain runs down the beam. " * 4


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (f"# Roofs and rain\n\n{BODY}", "Roofs and rain"),
        (f"Mend the roof. {BODY}", "Mend the roof."),
        (BODY, "The roof leaks where two slates have slipped, and the rain runs down the beam."),
    ],
)
def test_the_first_line_or_sentence_asks(text: str, title: str) -> None:
    document = as_document(text)
    assert document.title == title
    assert title not in document.body[: len(title)] or document.body.startswith("The roof")


@pytest.mark.parametrize("text", ["", "roof", f"Roofs\n{BODY}", "Mend the roof.\nTake a ladder."])
def test_a_text_that_says_too_little_is_left_out(text: str) -> None:
    assert as_document(text) is None


def test_parts_follow_the_body_and_have_their_sizes() -> None:
    parts = [part_of(Document("a title", f"{i} {BODY}")) for i in range(2000)]
    assert parts.count("rarity") == pytest.approx(1400, abs=80)
    assert parts.count("judge") == pytest.approx(200, abs=60)
    assert part_of(Document("another title", f"7 {BODY}")) == parts[7]


def test_reads_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text(f"Second title\n{BODY}")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.md").write_text(f"# Third title\n{BODY}")
    (tmp_path / "a.rst").write_text("short")
    (tmp_path / "d.png").write_bytes(b"no text")
    assert [one.title for one in read_documents(tmp_path)] == ["Second title", "Third title"]


def test_the_sample_has_enough_texts_for_each_part() -> None:
    documents = sample_documents()
    assert documents == sample_documents()
    parts = parted(documents)
    # a token of a word-piece model has five characters at most, on average
    long = {part: sum(len(one.body) > 700 for one in found) for part, found in parts.items()}
    assert min(long.values()) >= 25
    assert max(len(one.body) for one in documents) > 2400
