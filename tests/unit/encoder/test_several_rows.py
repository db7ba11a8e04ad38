"""Items with several embeddings, by a tower of a plug-in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from encoder import Item, ModelError, MultiModalEncoder, registry
from encoder.config import EncoderConfig
from encoder.registry import register_modality
from encoder.space import l2_normalize
from encoder.towers.model import Model
from encoder.types import TEXT, Embeddings, Modality

SMELL = Modality("smell")
ITEMS = [Item(SMELL, 5), Item(TEXT, "rain"), Item(SMELL, 1), Item(SMELL, 3)]


class Nose:
    """Two embeddings for each smell, given by its number and the row."""

    n_rows = 2

    def __init__(self, model: Model) -> None:
        self._embed_dim = model.space.embed_dim

    def prepare(self, content: int) -> Any:
        return np.full(content, content)

    def forward(self, batch: Sequence[Any]) -> Embeddings:
        rows = [self.row_of(len(one), row) for one in batch for row in range(2)]
        return np.stack(rows)

    def row_of(self, content: int, row: int) -> Embeddings:
        seeded = np.random.default_rng([content, row])
        return l2_normalize(seeded.normal(size=(1, self._embed_dim)))[0]


class Forgetful(Nose):
    """One row too few."""

    def forward(self, batch: Sequence[Any]) -> Embeddings:
        return super().forward(batch)[1:]


@pytest.fixture(autouse=True)
def _no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_factories", {})


@pytest.mark.usefixtures("bundle_home")
def test_all_rows_come_in_their_order_and_the_first_stands_for_the_item() -> None:
    made: list[Nose] = []

    def factory(model: Model) -> Nose:
        made.append(Nose(model))
        return made[-1]

    register_modality(SMELL, factory)
    encoder = MultiModalEncoder(config=EncoderConfig(batch_items=2))
    rows = encoder.encode_rows(ITEMS)
    assert [len(of_item) for of_item in rows] == [2, 1, 2, 2]
    (tower,) = made
    for item, of_item in zip(ITEMS, rows, strict=True):
        if item.modality == SMELL:
            wanted = [tower.row_of(item.content, row) for row in (0, 1)]
            np.testing.assert_array_equal(of_item, wanted)
    firsts = encoder.encode_items(ITEMS)
    assert firsts.shape == (4, 384)
    np.testing.assert_array_equal(firsts, [of_item[0] for of_item in rows])
    one = encoder.encode_multimodal(text="rain", smell=5)
    np.testing.assert_array_equal(one["smell"], rows[0][0])
    assert encoder.encode_rows([]) == []


@pytest.mark.usefixtures("bundle_home")
def test_a_tower_that_returns_too_few_rows_is_named() -> None:
    register_modality(SMELL, Forgetful)
    with pytest.raises(ModelError, match=r"Forgetful\.forward returned 5 rows for 3 items of 2"):
        MultiModalEncoder().encode_rows(ITEMS)
