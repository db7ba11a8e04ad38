"""Towers of one call run in parallel, with the same results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder import Item, MultiModalEncoder, registry
from encoder.config import EncoderConfig
from encoder.runtime.base import all_at_once
from encoder.towers.model import Model
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Clip, Embeddings, Modality, Waveform

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (3, 60, 80, 3), dtype=np.uint8)
SOUND = Waveform(RNG.normal(0, 0.1, 16_000).astype(np.float32), 16_000)
SMELL, TASTE = Modality("smell"), Modality("taste")
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


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[Modality, Callable[[], Any]], Plugin]:
    monkeypatch.setattr(registry, "_factories", {})

    def add(modality: Modality, act: Callable[[], Any]) -> Plugin:
        plugin = Plugin(act)
        registry.register_modality(modality, plugin)
        return plugin

    return add


def encoder(n_threads: int) -> MultiModalEncoder:
    return MultiModalEncoder(quantization="int8", config=EncoderConfig(n_threads=n_threads))


ITEMS = [Item(SMELL, 0), Item(TASTE, 1), Item(SMELL, 2)]


@pytest.mark.usefixtures("bundle_home")
def test_neither_ends_before_the_other_has_begun(register: Any) -> None:
    together = threading.Barrier(2, timeout=WAIT_S)
    for modality in (SMELL, TASTE):
        register(modality, together.wait)
    assert encoder(n_threads=2).encode_items(ITEMS).argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.usefixtures("bundle_home")
def test_one_thread_is_one_thread(register: Any) -> None:
    plugins = [register(modality, lambda: None) for modality in (SMELL, TASTE)]
    assert encoder(n_threads=1).encode_items(ITEMS).argmax(axis=1).tolist() == [0, 1, 2]
    assert [plugin.ran_in for plugin in plugins] == [[threading.get_ident()]] * 2


@pytest.mark.slow
def test_vectors_are_those_of_one_after_the_other(bundle_home: Path) -> None:
    assert bundle_home.is_dir()
    contents: dict[Modality, list[Any]] = {
        TEXT: ["rain on a tin roof", "a dog"],
        IMAGE: list(PICTURES),
        AUDIO: [SOUND],
        VIDEO: [Clip(PICTURES, SOUND)],
    }
    items = [Item(modality, each) for modality, some in contents.items() for each in some]
    together, in_turn = (encoder(n).encode_items(items) for n in (2, 1))
    np.testing.assert_array_equal(together, in_turn)


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
