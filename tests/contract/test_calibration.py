"""A store's constants: what scores by them, who knows them, and what stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.errors import ModelError
from encoder.models.probes import written
from encoder.space import Calibration, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Modality
from search.errors import ReadOnlyStoreError
from search.store import calibrated
from search.store.base import VectorStore
from search.store.memory import MemoryStore
from search.store.open import open_store
from tests.contract.conftest import Opener
from tests.contract.rows import (
    CALIBRATION,
    DIM,
    SPACE,
    assert_same_answers,
    asset,
    corpus,
    segment,
    vectors,
)
from tests.integration.test_at_rest import read_only

pytestmark = pytest.mark.slow

MEASURED = {
    TEXT: Calibration(0.4, 0.05, share=0.8),
    IMAGE: Calibration(0.1, 0.2),
    AUDIO: Calibration(-0.3, 0.1),
}
RAISED = {TEXT: Calibration(0.2, 0.155), IMAGE: Calibration(-0.1, 2.0)}
ABOUT = {"source": "measured", "measured_at": "today"}


def filled(store: VectorStore, n_assets: int = 90) -> MemoryStore:
    """Fill a store with a corpus; return the oracle."""
    oracle = MemoryStore(DIM, CALIBRATION)
    for each in (store, oracle):
        each.write(*corpus(n_assets))
    return oracle


@pytest.mark.parametrize("constants", [MEASURED, RAISED])
def test_a_store_ranks_by_the_constants_it_was_given_and_no_row_changes(
    open_again: Opener, constants: dict[Modality, Calibration]
) -> None:
    store = open_again()
    oracle = filled(store)
    assert store.calibrations.current().about == {"source": "shipped"}
    before = [row.embedding for row in store.embeddings("asset0-1")]
    for each in (store, oracle):
        each.recalibrate(constants, ABOUT)
    assert store.calibrations.scoring().constants == constants
    assert_same_answers(store, oracle)
    again = open_again()
    assert again.calibrations.current().about == ABOUT
    assert again.calibrations.scoring().constants == constants
    assert_same_answers(again, oracle)
    np.testing.assert_array_equal([row.embedding for row in again.embeddings("asset0-1")], before)


def test_others_know_the_constants_when_they_read_them_again(
    open_again: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrated, "REFRESH_S", 0.0)
    store = open_again()
    oracle = filled(store)
    other = open_again.beside()
    assert other.calibrations.scoring().constants == CALIBRATION
    for each in (store, oracle):
        each.recalibrate(MEASURED, ABOUT)
    assert other.calibrations.scoring().constants == MEASURED
    for each in (other, oracle):
        each.write(*corpus(4, seed=3))
    store.catch_up()
    assert_same_answers(store, oracle)
    assert_same_answers(other, oracle)


def test_constants_are_read_but_not_changed_where_nothing_can_be_written(tmp_path: Path) -> None:
    where = tmp_path / "store"
    store = open_store(str(where), SPACE, DIM, calibration=CALIBRATION)
    oracle = filled(store)
    for each in (store, oracle):
        each.recalibrate(MEASURED, ABOUT)
    store.close()
    with read_only(where):
        store = open_store(str(where), SPACE, DIM)
        assert store.read_only
        assert_same_answers(store, oracle)
        with pytest.raises(ReadOnlyStoreError):
            store.recalibrate(CALIBRATION, ABOUT)
        store.close()


def test_a_store_refuses_the_probes_of_another_model(open_again: Opener) -> None:
    rows = vectors(4)
    store = open_again(probes=written(rows))
    filled(store, 3)
    store.recalibrate(MEASURED, {"source": "measured"})
    near = l2_normalize(rows + 0.01 * vectors(4, seed=1))
    assert open_again(probes=written(near)).count() == 3
    for other in (written(vectors(4, seed=1)), written(rows[::-1]), written(rows)[:3]):
        with pytest.raises(ModelError, match="another model"):
            open_again(probes=other)
    store = open_again()
    assert store.count() == 3
    assert store.calibrations.current().about["source"] == "measured"


def test_a_sample_is_evenly_drawn(store: VectorStore) -> None:
    assert store.sizes() == {}
    assert store.sample(TEXT, 10).shape == (0, 1, DIM)
    rows = [segment(f"a{n}", 0, vector, IMAGE) for n, vector in enumerate(vectors(400))]
    store.write([asset("a", "/a")], [*rows, segment("t", 0, vectors(1)[0], TEXT)])
    assert store.sizes() == {IMAGE: 400, TEXT: 1}
    everything = l2_normalize(vectors(400))
    few = store.sample(IMAGE, 160)[:, 0]
    assert 120 <= len(few) <= 160
    places = (few @ everything.T).argmax(axis=1)
    np.testing.assert_allclose(few, everything[places], atol=1e-6)
    assert len(set(places)) == len(few)
    assert 0.3 < (places < 200).mean() < 0.7
    assert len(store.sample(IMAGE, 16_000)) == 400
    assert store.sample(TEXT, 100).shape == (1, 1, DIM)
    assert store.sample(VIDEO, 100).shape == (0, 1, DIM)
