"""Modalities of plug-ins: their names, towers of one and of several rows, side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from encoder import InputError, Item, ModelError, MultiModalEncoder, registry
from encoder.config import EncoderConfig
from encoder.registry import origin_of, register_modality
from encoder.runtime.base import all_at_once
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


def factory(model: object) -> object:
    return model


def test_a_name_is_checked_and_given_once() -> None:
    register_modality("depth", factory)
    register_modality("depth", factory)
    for name, message in [("text", "taken"), ("depth", "taken"), ("Depth Map", "Depth Map")]:
        with pytest.raises(InputError, match=message):
            register_modality(name, lambda model: model)


def test_who_brings_a_modality_is_known() -> None:
    modality = register_modality("depth", factory)
    assert origin_of(modality).endswith("test_plugins.factory")
    with pytest.raises(InputError, match="a registered one: depth"):
        origin_of(Modality("smell"))


class DepthTower:
    """A plug-in: the mean depth, as one of two directions."""

    def __init__(self, model: Model) -> None:
        self.embed_dim = model.space.embed_dim

    def prepare(self, content: Any) -> Any:
        return np.asarray(content, np.float32).reshape(1, -1)

    def forward(self, batch: Sequence[Any]) -> Embeddings:
        return np.stack([np.eye(self.embed_dim)[int(b.mean() > 1)] for b in batch]).astype("f4")


@pytest.mark.usefixtures("bundle_home")
def test_a_registered_modality_is_one_more_argument() -> None:
    encoder = MultiModalEncoder(quantization=None, enable_dsre=False)
    register_modality("depth", DepthTower)
    e = encoder.encode_multimodal(text="near", depth=[np.zeros((2, 2)), np.full((2, 2), 9.0)])
    assert np.array_equal(e["depth"].argmax(axis=1), [0, 1])
    assert e.fused.shape == (2, 384)
    assert "depth" in encoder.modalities


class AskedDepthTower(DepthTower):
    def forward(self, batch: Sequence[Any]) -> Embeddings:
        return -super().forward(batch)


@pytest.mark.usefixtures("bundle_home")
def test_a_registered_modality_may_distinguish_queries() -> None:
    register_modality("depth", DepthTower, queries=AskedDepthTower)
    register_modality("tags", DepthTower)
    encoder = MultiModalEncoder(quantization=None, enable_dsre=False)
    assert {"depth", "tags"} & encoder.space.asymmetric == {"depth"}
    asked, stored = (
        encoder.encode_multimodal(text="near", depth=np.zeros((2, 2)), role=role)
        for role in ("query", "document")
    )
    assert np.array_equal(asked["depth"], -stored["depth"])
    assert np.array_equal(asked["text"], stored["text"])


TASTE = Modality("taste")
WAIT_S = 20


class Plugin:
    """A tower of two dimensions that does something when it runs."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act
        self.ran_in: list[int] = []

    def __call__(self, model: Model) -> Plugin:
        self._embed_dim = model.space.embed_dim
        return self

    def prepare(self, content: float) -> Any:
        return np.array([content])

    def forward(self, batch: Sequence[Any]) -> Embeddings:
        self.ran_in.append(threading.get_ident())
        self._act()
        return np.eye(self._embed_dim, dtype=np.float32)[[int(one[0]) for one in batch]]


def register(modality: Modality, act: Callable[[], Any]) -> Plugin:
    plugin = Plugin(act)
    register_modality(modality, plugin)
    return plugin


def encoder(n_threads: int) -> MultiModalEncoder:
    return MultiModalEncoder(quantization="int8", config=EncoderConfig(n_threads=n_threads))


MIXED = [Item(SMELL, 0), Item(TASTE, 1), Item(SMELL, 2)]


@pytest.mark.usefixtures("bundle_home")
def test_neither_ends_before_the_other_has_begun() -> None:
    together = threading.Barrier(2, timeout=WAIT_S)
    for modality in (SMELL, TASTE):
        register(modality, together.wait)
    assert encoder(n_threads=2).encode_items(MIXED).argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.usefixtures("bundle_home")
def test_one_thread_is_one_thread() -> None:
    plugins = [register(modality, lambda: None) for modality in (SMELL, TASTE)]
    assert encoder(n_threads=1).encode_items(MIXED).argmax(axis=1).tolist() == [0, 1, 2]
    assert [plugin.ran_in for plugin in plugins] == [[threading.get_ident()]] * 2


def test_the_first_error_is_raised_once_all_have_ended() -> None:
    ended = threading.Event()

    def fails() -> None:
        raise ValueError("first")

    def fails_late() -> None:
        ended.set()
        raise KeyError("second")

    with pytest.raises(ValueError, match="first"):
        all_at_once([fails, fails_late])
    assert ended.is_set()
