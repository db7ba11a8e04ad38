"""The bundle's text tower with a gate: what it changes, and what it leaves alone."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.dsre.fitting.judge import compare, search
from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.models.bundle.declaration import TEXT_GATE, all_bundles, read_bundle
from encoder.models.bundle.kinds import kind_named
from encoder.models.precision import Precision
from encoder.models.sparsity import wanted_gate
from encoder.towers.text import load_tokenizer
from scripts.manuals import documented

ENGLISH = read_bundle("english")
SHORT = ["rain", "A red car on a wet road", "the council voted on the budget " * 12]
N_LONG = 32


@pytest.fixture(scope="module")
def dense(bundle_home: Path) -> MultiModalEncoder:
    assert bundle_home.is_dir()
    return MultiModalEncoder(
        quantization="int8", config=EncoderConfig(n_threads=1), enable_dsre=False
    )


@pytest.fixture(scope="module")
def sparse(bundle_home: Path) -> MultiModalEncoder:
    assert bundle_home.is_dir()
    config = EncoderConfig(n_threads=1)
    return MultiModalEncoder(quantization="int8", enable_dsre=True, config=config)


def encode(encoder: MultiModalEncoder, texts: list[str]) -> np.ndarray:
    return encoder.encode_multimodal(text=texts).text


def test_auto_merges_as_true_does(sparse: MultiModalEncoder) -> None:
    auto = MultiModalEncoder(quantization="int8", enable_dsre="auto")
    long = ["the council voted on the budget " * 30]
    np.testing.assert_array_equal(encode(auto, long), encode(sparse, long))


def test_short_texts_are_equal_to_dense(
    dense: MultiModalEncoder, sparse: MultiModalEncoder
) -> None:
    assert np.array_equal(encode(sparse, SHORT), encode(dense, SHORT))


@pytest.mark.slow
def test_a_search_in_manuals_finds_what_it_found(
    dense: MultiModalEncoder, sparse: MultiModalEncoder, bundle_home: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated names within the library
        documents = documented("scipy")
    documents = sorted(documents, key=lambda one: len(one.body))[-N_LONG:]
    queries = encode(dense, [one.title for one in documents])
    tokenizer = load_tokenizer(bundle_home / "text" / "tokenizer.json", max_tokens=256)
    ends = [tokenizer.encode(one.body).offsets[-2][1] for one in documents]
    bodies = [one.body[:end] for one, end in zip(documents, ends, strict=True)]  # one window each
    right = np.arange(len(bodies))
    plain = encode(dense, bodies)
    result = sparse.encode_multimodal(text=bodies, return_stats=True)
    assert (plain * result.text).sum(1).mean() > 0.96
    loss = compare(search(queries, plain, right), search(queries, result.text, right))
    assert loss.ndcg <= 0.01
    stats = result.stats
    assert (stats.tokens == 256).all()
    assert stats.kept.shape == (N_LONG, 6)
    assert (np.diff(stats.kept, axis=1) <= 0).all()
    assert 0.3 < stats.flops_saved < 0.6


def test_stats_are_in_the_order_of_the_texts(sparse: MultiModalEncoder) -> None:
    words = "a boat with two sails left the harbour when the wind had turned to the west "
    texts = [words * 20, "rain", words * 12]
    result = sparse.encode_multimodal(text=texts, return_stats=True)
    assert result.stats.tokens[1] == 3
    assert (result.stats.kept[1] == 3).all()
    assert result.stats.flops[1] == result.stats.dense_flops[1]
    assert result.stats.tokens[0] > result.stats.tokens[2] > result.stats.kept[2, -1]
    alone = sparse.encode_multimodal(text=texts[2], return_stats=True)
    assert np.array_equal(alone.stats.kept[0], result.stats.kept[2])
    assert alone.text @ result.text[2] > 0.9999


def test_without_a_gate_there_are_no_stats(dense: MultiModalEncoder) -> None:
    assert dense.encode_multimodal(text="rain", return_stats=True).stats is None


def test_neither_a_setting_nor_a_file(bundle_home: Path, tmp_path: Path) -> None:
    assert bundle_home.is_dir()
    with pytest.raises(ModelError, match="anymodal models gate calibrate"):
        MultiModalEncoder(enable_dsre=str(tmp_path / "missing.npz"), quantization=None)
    (tmp_path / "other.npz").write_bytes(b"no gate")
    with pytest.raises(ModelError, match="is not a gate file"):
        MultiModalEncoder(enable_dsre=str(tmp_path / "other.npz"), quantization=None)


def test_a_gate_of_ones_own_makes_no_other_space(sparse: MultiModalEncoder, tmp_path: Path) -> None:
    shipped = GateFile.load(TEXT_GATE)
    GateFile(shipped.rarity[::-1].copy(), shipped.settings).save(tmp_path / "own.npz")
    own = MultiModalEncoder(quantization="int8", enable_dsre=str(tmp_path / "own.npz"))
    assert own.space.fingerprint == sparse.space.fingerprint


def test_the_graph_of_each_shipped_gate_is_made_when_its_bundle_is_fetched() -> None:
    for bundle in all_bundles():
        text = bundle.parts["text"]
        assert (text.gate is not None) == ("gate" in kind_named(text.kind).later), bundle.name


def test_a_quantized_tower_has_no_gate(tmp_path: Path) -> None:
    precision = Precision(folders={"text": tmp_path})
    assert wanted_gate("auto", precision, TEXT_GATE) is None
    assert wanted_gate(False, precision, TEXT_GATE) is None
    with pytest.raises(ModelError, match="quantized text tower"):
        wanted_gate(True, precision, TEXT_GATE)
