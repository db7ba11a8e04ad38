"""Constants: measured, kept, and what they mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.calibration.measure import (
    Measured,
    SampleQuery,
    constants_of,
    measure,
    sample_queries,
    scores_of,
    shares_of_best,
    told_apart,
)
from encoder.calibration.tables import (
    read_bank,
    read_centring,
    read_constants,
    write_bank,
    write_centring,
    write_constants,
)
from encoder.models.bundle.declaration import all_bundles
from encoder.space import Bank, Calibration, Centring, l2_normalize
from encoder.types import IMAGE, TEXT, Embeddings, Modality

DIM = 24
QUERIES = [
    SampleQuery(language, kind, f"{language} {kind} {n}")
    for language in ("en", "de", "zh")
    for kind in ("caption", "name")
    for n in range(5)
]


def rows(n: int, seed: int, gap: float = 0.0, axis: int = 0) -> Embeddings:
    """Unit rows in all directions, or around an axis, like a modality in its own cone."""
    around = np.random.default_rng(seed).normal(size=(n, DIM)) / np.sqrt(DIM)
    around[:, axis] += gap
    return l2_normalize(around)


def single(**samples: Embeddings) -> dict[Modality, Embeddings]:
    """By modality [n, 1, DIM]: items of one row."""
    return {Modality(kind): of_kind[:, None] for kind, of_kind in samples.items()}


def gapped(n_text: int = 300, n_image: int = 300) -> dict[Modality, Embeddings]:
    """Queries are texts, and texts lie near each other; pictures elsewhere, and closer."""
    pictures = 0.3 * rows(n_image, 2) + rows(1, 3, 1.0, 1)
    return single(text=rows(n_text, 1, gap=1.5), image=pictures)


def asked(gap: float = 1.5) -> Embeddings:
    return rows(len(QUERIES), 0, gap)


sizes = st.integers(1, 60)
gaps = st.floats(0, 3)


@given(sizes, sizes, gaps, st.integers(0, 99))
def test_calibrated_cosines_of_unrelated_pairs_are_0_and_spread_by_1(
    n_text: int, n_image: int, gap: float, seed: int
) -> None:
    samples = single(text=rows(n_text, seed, gap), image=rows(n_image, seed + 1))
    measured = measure(QUERIES, asked(gap), samples)
    widest = max(one.calibration.c for one in measured.values())
    for kind, one in measured.items():
        assert one.n_vectors == len(samples[kind])
        unrelated = [kind != IMAGE or query.kind != "caption" for query in QUERIES]
        cosines = asked(gap)[unrelated] @ samples[kind][:, 0].T
        scores = one.calibration.apply(cosines.astype(np.float64))
        assert scores.mean() == pytest.approx(0, abs=1e-4)
        assert scores.std() == pytest.approx(1, abs=1e-3) or one.calibration.c < 0.06 * widest


def test_pictures_that_captions_describe_are_no_unrelated_pairs() -> None:
    samples = gapped()
    before = measure(QUERIES, asked(), samples)[IMAGE].calibration
    described = asked()
    are_captions = [query.kind == "caption" for query in QUERIES]
    described[are_captions] = samples[IMAGE][: sum(are_captions), 0]
    after = measure(QUERIES, described, samples)[IMAGE].calibration
    assert (after.mu, after.c) == pytest.approx((before.mu, before.c))


@given(sizes, st.integers(2, 4))
def test_copies_count_once(n: int, times: int) -> None:
    once = single(image=rows(n, 5), text=rows(9, 6))
    copied = {IMAGE: np.concatenate([once[IMAGE] * (1 + 1e-7)] * times), TEXT: once[TEXT]}
    one, many = (measure(QUERIES, asked(), samples) for samples in (once, copied))
    assert many[IMAGE].n_vectors == one[IMAGE].n_vectors
    assert many[IMAGE].calibration.mu == pytest.approx(one[IMAGE].calibration.mu, abs=1e-6)
    assert many[IMAGE].calibration.c == pytest.approx(one[IMAGE].calibration.c, abs=1e-6)


@given(st.integers(0, 99))
def test_no_score_is_infinite(seed: int) -> None:
    same = np.repeat(rows(1, seed), len(QUERIES), axis=0)
    alone = measure(QUERIES, same, single(image=same[:1]))
    assert alone[IMAGE].calibration.c == 1.0
    beside = measure(QUERIES, same, single(image=same[:1], text=rows(40, seed + 1)))
    assert 0 < beside[IMAGE].calibration.c == pytest.approx(0.05 * beside[TEXT].calibration.c)
    assert np.isfinite(beside[IMAGE].spread)


def test_the_kind_that_lies_near_the_queries_no_longer_fills_the_list() -> None:
    samples = gapped()
    constants = constants_of(measure(QUERIES, asked(), samples))
    before = shares_of_best(asked(), samples, {})
    after = shares_of_best(asked(), samples, constants)
    assert before == {TEXT: 1.0, IMAGE: 0.0}
    assert 0.25 < after[IMAGE] < 0.75
    assert sum(after.values()) == pytest.approx(1)


def test_each_row_of_an_item_has_constants_and_the_best_counts() -> None:
    first, second = rows(300, 1), rows(300, 2, 1.5)
    both = np.stack([first, second], axis=1)
    (one,) = measure(QUERIES, asked(), {IMAGE: both}).values()
    alone = [measure(QUERIES, asked(), single(image=of))[IMAGE] for of in (first, second)]
    assert one.calibration.of_row(0).mu == alone[0].calibration.mu
    assert one.calibration.of_row(1) == one.calibration.of_row(2) == alone[1].calibration
    assert one.by_kind == alone[0].by_kind
    scores = scores_of(asked(), both, one.calibration)
    each = [alone[row].calibration.apply(asked() @ both[:, row].T) for row in (0, 1)]
    np.testing.assert_allclose(scores, np.maximum(*each), atol=1e-5)
    beside = shares_of_best(asked(), {IMAGE: both, TEXT: first[:, None]}, {IMAGE: one.calibration})
    assert sum(beside.values()) == pytest.approx(1)


def test_the_spread_shows_how_far_the_level_moves_with_the_kind_of_query() -> None:
    nearer = asked()
    is_name = np.array([query.kind == "name" for query in QUERIES])
    nearer[is_name] = l2_normalize(nearer[is_name] + 2 * rows(1, 3, 1.0, 1))
    one: Measured = measure(QUERIES, nearer, gapped())[IMAGE]
    assert one.by_kind["name"] > one.by_kind["caption"]
    difference = one.by_kind["name"] - one.by_kind["caption"]
    assert one.spread == pytest.approx(difference / one.calibration.c)
    assert one.spread > 1
    assert one.spread > 4 * one.spread_of_languages
    assert set(one.by_language) == {"en", "de", "zh"}


def test_languages_that_the_model_does_not_know_are_left_out() -> None:
    rng = np.random.default_rng(0)
    heap = {"zh": 0.05, "de": 0.9, "en": 1.0}
    around = rows(1, 9)[0]
    embeddings = np.stack(
        [l2_normalize((around + heap[q.language] * rng.normal(size=DIM))[None])[0] for q in QUERIES]
    )
    known, kept = told_apart(QUERIES, embeddings)
    assert known == [query for query in QUERIES if query.language != "zh"]
    np.testing.assert_array_equal(kept, embeddings[[query.language != "zh" for query in QUERIES]])
    everywhere, _ = told_apart(QUERIES, rows(len(QUERIES), 3, gap=2.0))
    assert everywhere == QUERIES
    nowhere, _ = told_apart(QUERIES, np.repeat(rows(1, 1), len(QUERIES), axis=0))
    assert len(nowhere) > 0


def test_constants_return_as_they_were_written(tmp_path: Path) -> None:
    constants = {
        TEXT: Calibration(0.1, 0.2, share=0.8),
        IMAGE: Calibration(0.3, 0.4, (Calibration(0.5, 0.6),)),
    }
    write_constants(tmp_path / "table.json", constants)
    assert read_constants(tmp_path / "table.json") == constants


def test_a_bank_returns_as_it_was_written(tmp_path: Path) -> None:
    bank = Bank(rows(1, 1)[0], rows(5, 2), rows(1, 3)[0], 0.25, 0.5, 0.75, 2.0, 4.5)
    write_bank(tmp_path / "bank.npz", bank)
    again = read_bank(tmp_path / "bank.npz")
    for name in ("foreign", "questions", "naming"):
        np.testing.assert_allclose(getattr(again, name), getattr(bank, name), atol=1e-3)
    figures = ("middle", "level", "spread", "nearest", "best")
    assert [getattr(again, name) for name in figures] == [0.25, 0.5, 0.75, 2.0, 4.5]


def test_languages_return_as_they_were_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    languages = rng.normal(size=(2, 3, 8)).astype(np.float32)
    centring = Centring(*languages, languages[0, 0])
    write_centring(tmp_path / "languages.npz", ["a", "b", "c"], centring)
    again = read_centring(tmp_path / "languages.npz")
    np.testing.assert_allclose(again.deviations, centring.deviations, rtol=1e-3)
    np.testing.assert_allclose(again.weights, centring.weights, rtol=1e-3)
    np.testing.assert_allclose(again.common, centring.common, rtol=1e-3)


def test_a_bundle_whose_constants_are_for_centred_queries_ships_languages() -> None:
    for bundle in all_bundles():
        shares = [of.share for of in bundle.calibration.values()]
        assert (bundle.centring is not None) == any(shares)


def test_a_bundle_ships_a_bank() -> None:
    for bundle in all_bundles():
        assert bundle.bank.foreign.shape == bundle.bank.naming.shape == (bundle.embed_dim,)
        assert bundle.bank.questions.shape == (len(sample_queries()), bundle.embed_dim)
