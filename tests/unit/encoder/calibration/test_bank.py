"""What chance looks like in a space: shipped, or measured when a lane is first searched."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from encoder.calibration.bank import bank_of, completed, foreign_texts
from encoder.calibration.bank_media import pictures, sounds
from encoder.calibration.measure import sample_queries
from encoder.space import Calibration, Space, l2_normalize
from encoder.types import AUDIO, IMAGE, QUERY, TEXT, Embeddings, Item, Modality

DIM = 32


@dataclass
class Hashing:
    """Any content has a direction of its own; queries lie a little along the last axis."""

    space: Space = field(default_factory=lambda: Space(DIM, {"model": "hashing"}))
    modalities: frozenset[Modality] = frozenset({TEXT, IMAGE, AUDIO})
    salt: str = ""
    n_encoded: int = 0

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        self.n_encoded += len(items)
        return l2_normalize(np.stack([self._row(item) for item in items]))

    def _row(self, item: Item) -> Embeddings:
        content = item.content
        samples = getattr(content, "samples", content)
        data = samples.tobytes() if isinstance(samples, np.ndarray) else str(content).encode()
        seed = int.from_bytes(hashlib.sha256(self.salt.encode() + data).digest()[:8], "big")
        row = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
        row[-1] += 2.0 * (item.role == QUERY)
        return row


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))


def test_foreign_texts_are_balanced_over_topics_and_languages() -> None:
    counts = Counter((foreign.language, foreign.topic) for foreign in foreign_texts())
    assert len(set(counts.values())) == 1
    assert len({language for language, _ in counts}) >= 8
    assert len({foreign.text for foreign in foreign_texts()}) == len(foreign_texts())


def test_queries_that_name_a_thing_lie_ahead_of_questions() -> None:
    queries = sample_queries()
    rows = np.random.default_rng(0).normal(size=(len(queries), DIM)).astype(np.float32)
    rows[:, 0] += [3.0 * (query.kind == "caption") for query in queries]
    texts = l2_normalize(np.ones((len(foreign_texts()), DIM)))
    bank = bank_of(texts, l2_normalize(rows), Space(DIM, {}))
    along = bank.questions @ bank.naming - bank.middle
    kinds = np.array([query.kind for query in queries])
    assert along[kinds == "caption"].mean() == pytest.approx(0.5, abs=0.1)
    assert along[kinds == "question"].mean() == pytest.approx(-0.5, abs=0.1)
    np.testing.assert_allclose(bank.foreign, np.full(DIM, DIM**-0.5), rtol=1e-5)


def test_a_lane_without_a_bank_gets_one_and_constants_for_all_that_it_takes() -> None:
    known = {IMAGE: Calibration(0.5, 0.25)}
    space = completed(Hashing(Space(DIM, {"model": "hashing"}, known)))
    assert space.bank is not None
    assert set(space.calibration) == {TEXT, IMAGE, AUDIO}
    assert space.calibration[IMAGE] == known[IMAGE]
    assert all(by.c > 0 for by in space.calibration.values())
    assert space.fingerprint == Space(DIM, {"model": "hashing"}).fingerprint
    of_pictures = Hashing(modalities=frozenset({IMAGE}))
    assert completed(of_pictures) is of_pictures.space


def test_a_bank_is_encoded_once_for_a_model() -> None:
    first, second, other = Hashing(), Hashing(), Hashing(salt="another model of the same name")
    banks = [completed(encoder).bank for encoder in (first, second, other)]
    assert first.n_encoded > len(foreign_texts())
    assert second.n_encoded == 1
    assert other.n_encoded == first.n_encoded
    means = [bank.foreign for bank in banks if bank]
    np.testing.assert_array_equal(means[0], means[1])
    assert not np.allclose(means[0], means[2])


def test_constants_are_measured_of_a_kind_that_a_model_takes_by_now() -> None:
    texts_only = Hashing(modalities=frozenset({TEXT}))
    assert set(completed(texts_only).calibration) == {TEXT}
    assert set(completed(Hashing()).calibration) == {TEXT, IMAGE, AUDIO}


@pytest.mark.parametrize("n_bytes", [0, 5000])
def test_a_damaged_bank_is_encoded_again(n_bytes: int, tmp_path: Path) -> None:
    first, again = Hashing(), Hashing()
    completed(first)
    (file,) = (tmp_path / "banks").glob("*.npz")
    file.write_bytes(file.read_bytes()[:n_bytes])
    assert completed(again).bank is not None
    assert again.n_encoded >= first.n_encoded


def test_a_bank_is_measured_where_no_cache_can_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    monkeypatch.setenv("ANYMODAL_CACHE", str(in_the_way))
    assert set(completed(Hashing()).calibration) == {TEXT, IMAGE, AUDIO}


def test_pictures_and_sounds_are_the_same_each_time_and_differ() -> None:
    assert len({picture.tobytes() for picture in pictures()}) == len(pictures())
    assert [p.tobytes() for p in pictures()] == [p.tobytes() for p in pictures()]
    assert len({sound.samples.tobytes() for sound in sounds()}) == len(sounds())
    assert all(np.abs(sound.samples).max() <= 1.5 for sound in sounds())


def test_a_direction_that_only_fits_its_own_rows_moves_nothing() -> None:
    """In many dimensions any two sets differ; the other half has to show it too."""
    rows = np.random.default_rng(0).normal(size=(len(sample_queries()), 256)).astype(np.float32)
    texts = np.random.default_rng(1).normal(size=(len(foreign_texts()), 256)).astype(np.float32)
    bank = bank_of(l2_normalize(texts), l2_normalize(rows), Space(256, {}))
    new = l2_normalize(np.random.default_rng(2).normal(size=(200, 256)).astype(np.float32))
    assert np.abs(new @ bank.naming - bank.middle).max() < 0.5


def test_a_space_in_which_levels_differ_more_counts_them_less() -> None:
    narrow = completed(Hashing()).bank
    assert narrow is not None
    wide = replace(narrow, spread=10 * narrow.spread + 1.0)
    ahead = narrow.level + 1.0
    assert 0 < wide.by_chance(ahead, wide.nearest) < narrow.by_chance(ahead, narrow.nearest)
