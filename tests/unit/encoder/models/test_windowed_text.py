"""Whole documents beyond the window, with the bundle's text tower."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.errors import InputError, ModelError
from encoder.models.bundle.declaration import read_bundle
from encoder.models.bundle.model import parse_sparsity
from encoder.models.precision import Precision
from tests.support.manuals import topics

pytestmark = pytest.mark.slow

ENGLISH = read_bundle("english")


def make(tau: float | None) -> MultiModalEncoder:
    wish = True if tau is None else {"chunks": tau}
    config = EncoderConfig(n_threads=1)
    return MultiModalEncoder(quantization="int8", enable_dsre=wish, config=config)


@pytest.fixture(scope="module")
def every(bundle_home: Path) -> MultiModalEncoder:
    assert bundle_home.is_dir()
    return make(None)


@pytest.fixture(scope="module")
def near(bundle_home: Path) -> MultiModalEncoder:
    assert bundle_home.is_dir()
    return make(0.75)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Two chapters of some windows each, and a word."""
    chapters = sorted((one.body for one in topics() if len(one.body) > 10_000), key=len)
    return [chapters[0], "rain", chapters[1]]


def encode(encoder: MultiModalEncoder, texts: list[str] | str) -> np.ndarray:
    found = encoder.encode_multimodal(text=texts).text
    assert found is not None
    return found


def test_what_fits_into_a_window_is_as_before(
    near: MultiModalEncoder, every: MultiModalEncoder
) -> None:
    short = ["rain", "the council voted on the budget " * 12]
    assert np.array_equal(encode(near, short), encode(every, short))
    assert near.space.fingerprint != every.space.fingerprint != make(0.7).space.fingerprint


def test_all_windows_are_read_and_near_ones_once(
    near: MultiModalEncoder, every: MultiModalEncoder, texts: list[str]
) -> None:
    # a change beyond the window is seen
    changed = texts[0][:-2000] + "A walrus basks on the ice floe in the sun. " * 40
    for encoder in (every, near):
        whole, other = encode(encoder, [texts[0], changed])
        assert whole @ other < 0.999
    found = encode(every, texts)
    np.testing.assert_allclose(found, encode(make(1.0), texts), atol=1e-5)
    stats = every.encode_multimodal(text=texts, return_stats=True).stats
    fewer = near.encode_multimodal(text=texts, return_stats=True).stats
    assert stats is not None
    assert fewer is not None
    assert np.array_equal(fewer.tokens, stats.tokens)
    np.testing.assert_allclose(fewer.dense_flops, stats.dense_flops)
    assert stats.tokens[0] > 1000 > stats.tokens[1] == 3
    assert (fewer.flops[[0, 2]] < stats.flops[[0, 2]]).all()
    assert fewer.flops_saved > stats.flops_saved
    assert (found * encode(near, texts)).sum(1).min() > 0.85


@pytest.mark.parametrize("tau", [0, 1.5, "much", None, True, float("nan")])
def test_chunks_out_of_range(tau: object) -> None:
    with pytest.raises(InputError, match=r'enable_dsre\["chunks"\]'):
        parse_sparsity(ENGLISH, {"chunks": tau}, Precision())


def test_other_keys_and_no_gate(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\['tau'\]"):
        parse_sparsity(ENGLISH, {"chunks": 0.7, "tau": 1}, Precision())
    with pytest.raises(InputError, match="no gate"):
        parse_sparsity(ENGLISH, {"chunks": 0.7, "gate": False}, Precision())
    with pytest.raises(ModelError, match="no chunk gate"):
        MultiModalEncoder(f"dir:{tmp_path}", enable_dsre={"chunks": 0.7})
