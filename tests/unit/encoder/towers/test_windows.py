"""Texts of any length: every window is read, none is too long, and the mean is weighted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder import MultiModalEncoder
from encoder.errors import InputError
from encoder.towers.exported import TextFormat
from encoder.towers.text import MAX_TOKENS
from encoder.towers.tokens import cut_text, pool

BEGINNING = "The council voted on the budget for the roads of the old town. " * 40


@pytest.fixture(scope="module", params=[False, True], ids=["dense", "gate"])
def encoder(request: pytest.FixtureRequest, bundle_home: Path) -> MultiModalEncoder:
    assert bundle_home.is_dir()
    return MultiModalEncoder(quantization="int8", enable_dsre=request.param)


def embedded(encoder: MultiModalEncoder, text: str) -> np.ndarray:
    row = encoder.encode_multimodal(text=text).text
    assert row is not None
    return row


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
    ids = encoder._dispatch.tower("text").prepare(text).tolist()  # type: ignore[arg-type]
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
