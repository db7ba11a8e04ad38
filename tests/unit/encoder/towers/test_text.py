"""Texts, and towers that load late and are put away."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any
from weakref import ref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder import MultiModalEncoder
from encoder.errors import BundleError, InputError, ModelError
from encoder.services.whisper import SAMPLING_RATE, Whisper
from encoder.system.resting import Resting
from encoder.towers import text
from encoder.towers.base import Encoded, LazyTower, Prepared, QueryTower
from encoder.towers.exported import TextFormat
from encoder.towers.text import MAX_TOKENS
from encoder.towers.tokens import cut, cut_text, pool

BEGINNING = "The council voted on the budget for the roads of the old town. " * 40


@pytest.fixture(scope="module", params=[False, True], ids=["dense", "gate"])
def encoder(request: pytest.FixtureRequest, bundle_home: Path) -> MultiModalEncoder:
    assert bundle_home.is_dir()
    return MultiModalEncoder(quantization="int8", enable_dsre=request.param)


def embedded(encoder: MultiModalEncoder, text: str) -> np.ndarray:
    return encoder.encode_multimodal(text=text).text


def test_what_lies_beyond_the_window_is_read(encoder: MultiModalEncoder) -> None:
    walrus = "A walrus basks on the ice floe in the sun. "
    long = embedded(encoder, BEGINNING + walrus * 40)
    without = embedded(encoder, BEGINNING + "The budget was approved. " * 40)
    query = embedded(encoder, walrus)
    assert query @ long > query @ without + 0.2


def test_a_long_text_is_the_weighted_mean_of_its_windows(encoder: MultiModalEncoder) -> None:
    # one token per word, so that the windows are known in advance
    words = ["cat", "dog", "rain", "sea"] * 200
    lengths = encoder.window_lengths(" ".join(words))
    assert lengths == [202, 202, 202, 202]
    parts = [embedded(encoder, " ".join(words[n : n + 200])) for n in range(0, 800, 200)]
    whole = embedded(encoder, " ".join(words))
    assert whole @ pool(np.stack(parts), lengths) == pytest.approx(1, abs=1e-5)


def test_lengths_are_those_of_all_windows(encoder: MultiModalEncoder) -> None:
    assert encoder.window_lengths("A cat") == [4]
    lengths = encoder.window_lengths(BEGINNING)
    assert len(lengths) == 3
    assert max(lengths) <= MAX_TOKENS
    assert sum(lengths) == 40 * 14 + 2 * 3


@pytest.mark.parametrize(
    "text", ["It's a dog's life (isn't it?) - 3.14 e-mails, Zoë!", "東京 Tokyo"]
)
def test_token_ids_become_their_text(encoder: MultiModalEncoder, text: str) -> None:
    ids = encoder.home.dispatch.tower("text").prepare(text).tolist()
    again = encoder.text_of_tokens(ids)
    assert embedded(encoder, again) @ embedded(encoder, text) == pytest.approx(1, abs=1e-5)


def test_halves_of_pairs_are_read_as_unknown(encoder: MultiModalEncoder) -> None:
    """`os.fsdecode` makes them from names that are not UTF-8."""
    name = b"caf\xe9 in the rain".decode("utf-8", "surrogateescape")
    assert np.array_equal(embedded(encoder, name), embedded(encoder, "caf\ufffd in the rain"))
    assert TextFormat(before="query: ").wrap(name) == "query: caf\ufffd in the rain"


@pytest.mark.parametrize(
    "ids", [[15339, 1917], [101, 102], [], [101, 99_999, 102], [101, 100, 102]]
)
def test_other_ids_are_refused(encoder: MultiModalEncoder, ids: list[int]) -> None:
    with pytest.raises(InputError, match=r"tokens: .*tokenizer"):
        encoder.text_of_tokens(ids)


@given(st.text(max_size=300), st.integers(3, 40))
def test_windows_of_characters(text: str, most: int) -> None:
    windows = cut_text(text, len, most)
    assert all(len(piece) == length <= max(most, 1) for piece, length in windows)
    assert "".join("".join(piece for piece, _ in windows).split()) == "".join(text.split())


@pytest.fixture(scope="module")
def tower(bundle_home: Path) -> text.TextTower:
    return text.load(bundle_home / "text", n_threads=1)


def test_prepare_gives_marked_token_ids(tower: text.TextTower) -> None:
    ids = tower.prepare("A cat")

    assert ids.dtype == np.int64
    assert ids.tolist() == [101, 1037, 4937, 102]


def test_empty_text_has_a_vector(tower: text.TextTower) -> None:
    (row,) = tower.forward([tower.prepare("")]).rows

    assert np.isfinite(row).all()
    assert np.linalg.norm(row) == pytest.approx(1)


def test_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json is not a tokenizer.*models verify"):
        text.load_tokenizer(tmp_path / "tokenizer.json")


def test_a_vector_does_not_depend_on_neighbours(encoder: MultiModalEncoder) -> None:
    words = "river mountain engine bread harvest violin storm galaxy lantern harbour market"
    texts = [f"{n} " + " ".join(words.split()[: 1 + n % 9]) for n in range(24)]
    texts += [f"{n} " + f"{words} " * (8 + n % 3) for n in range(6)]
    together = encoder.encode_multimodal(text=texts).text
    alone = [embedded(encoder, text) for text in texts]
    cosines = [float(one @ other) for one, other in zip(together, alone, strict=True)]
    assert min(cosines) > 0.99999


class Ones:
    """A tower without a network."""

    def prepare(self, content: str) -> Prepared:
        return np.ones(len(content))

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        return Encoded(np.ones((len(batch), 2), np.float32))


def test_loads_once_for_many_threads() -> None:
    loads: list[int] = []
    barrier = Barrier(8)
    tower = LazyTower(lambda: loads.append(1) or Ones())

    def use(_: int) -> int:
        barrier.wait()
        return len(tower.prepare("abc"))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(use, range(8))) == [3] * 8
    assert loads == [1]
    assert tower.forward([np.ones(1)]).rows.shape == (1, 2)


def test_a_failed_load_is_tried_again() -> None:
    outcomes = iter([BundleError("not yet"), None])

    def load() -> Ones:
        if error := next(outcomes):
            raise error
        return Ones()

    tower = LazyTower(load)
    with pytest.raises(BundleError):
        tower.prepare("x")

    assert len(tower.prepare("xy")) == 2


def test_what_nobody_uses_is_let_go_and_loaded_again() -> None:
    loads: list[int] = []
    resting = Resting(lambda: loads.append(1) or Ones(), 0.0)
    in_use = resting.get()
    forgotten = ref(resting.get())
    assert in_use.forward([np.ones(1)]).rows.shape == (1, 2)
    del in_use
    wait_for_end(forgotten)
    assert len(resting.get().prepare("abc")) == 3
    assert len(loads) > 1


def test_what_is_loaded_ends_with_who_holds_it() -> None:
    tower = LazyTower(Ones)
    loaded = ref(tower.tower)
    del tower
    assert loaded() is None


def test_queries_rest_with_documents() -> None:
    class WithQuery(Ones):
        def __init__(self) -> None:
            self.query = Ones()

    of_documents = LazyTower(WithQuery)
    of_queries = QueryTower(of_documents)
    assert of_queries.tower is of_documents.tower.query
    query = ref(of_queries.tower)
    del of_documents, of_queries
    assert query() is None


def wait_for_end(value: ref[Any]) -> None:
    pause = Event()
    assert any(value() is None or pause.wait(0.01) for _ in range(6000))


@pytest.mark.slow
def test_whisper_hears_the_same_after_a_rest(bundle_home: Path) -> None:
    whisper = Whisper(bundle_home / "speech", n_threads=1, compute_type="int8", rest_s=0.0)
    sound = np.random.default_rng(0).normal(0, 0.1, SAMPLING_RATE).astype(np.float32)
    before = np.array(whisper.encode(sound).states)
    wait_for_end(ref(whisper._model.get()))
    np.testing.assert_array_equal(np.array(whisper.encode(sound).states), before)


@given(st.integers(2, 900), st.integers(3, 300))
def test_windows_hold_every_token_once_and_keep_their_marks(n_tokens: int, most: int) -> None:
    ids = np.arange(100, 100 + n_tokens)
    windows = cut(ids, most)
    assert all(len(window) <= most for window in windows)
    assert all(window[0] == ids[0] and window[-1] == ids[-1] for window in windows)
    assert np.array_equal(np.concatenate([window[1:-1] for window in windows]), ids[1:-1])
    lengths = [len(window) for window in windows]
    assert max(lengths) - min(lengths) <= 1
    assert (len(windows) == 1) == (n_tokens <= most)


def test_pooling_goes_by_length() -> None:
    pooled = pool(np.eye(2, dtype=np.float32), [30, 10])
    assert pooled == pytest.approx(np.array([3, 1]) / np.sqrt(10))
