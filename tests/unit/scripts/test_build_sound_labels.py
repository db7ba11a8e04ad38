"""The script that builds the table of sound labels, and what it reads."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

SCRIPTS = Path(__file__).parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import sound_corpus  # noqa: E402
from sound_recipes import SOUNDS  # noqa: E402

from encoder.types import Waveform  # noqa: E402
from scripts import build_sound_labels as script  # noqa: E402


def test_there_are_82_categories_in_order_each_described() -> None:
    rows = script.read_rows(SCRIPTS / "ucs_categories.tsv")
    names = [name for name, *_ in rows]
    assert len(names) == 82
    assert names == sorted(names)
    assert all(len(row) == 3 and row[1] and " | " in row[2] for row in rows)
    assert all(lacking < set(names) for lacking in script.LACKING)


def test_every_name_of_the_head_is_there_in_three_languages() -> None:
    rows = script.read_rows(SCRIPTS / "sound_names.tsv")
    with np.load(script.E5_TABLE) as table:
        assert [row[0] for row in rows] == table["head_names"].tolist()
    assert all(len(row) == 3 and all(row) for row in rows)


def test_a_name_is_the_mean_of_its_languages_less_what_each_shares() -> None:
    places = {"a": [1.0, 0, 0, 9], "b": [0, 1.0, 0, 9], "A": [1.0, 0, 9, 0], "B": [0, 1.0, 9, 0]}

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.array([places[text] for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    common = np.array([0, 0, 0, 1], np.float32)
    table: script.Table = {"head_names": np.array(["a", "b"]), "common": common}
    made = script.in_languages(table, encode, [("a", "A"), ("b", "B")])
    assert made["head_share"] == script.HEAD_SHARE
    first, second = made["head_embeddings"].astype(np.float32)
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-3)
    assert abs(first @ common) < 1e-3
    assert first @ second < -0.9  # without the common part they share nothing


def test_every_recording_has_one_label() -> None:
    rows = script.read_rows(SCRIPTS / "sound_sources.tsv")
    assert {len(row) for row in rows} == {2}
    assert {pattern.split("/")[0] for pattern, _ in rows} == set(sound_corpus.SOURCES.values())


@pytest.mark.parametrize("name", SOUNDS)
def test_a_recipe_gives_five_seconds(name: str) -> None:
    samples = SOUNDS[name](np.random.default_rng(3))
    assert samples.shape == (5 * sound_corpus.RATE,)
    assert np.isfinite(samples).all()
    assert samples.std() > 0


def test_a_recipe_gives_the_same_each_time() -> None:
    first, again = script.synthesize(0, 1), script.synthesize(0, 1)
    np.testing.assert_array_equal(first.samples, again.samples)
    assert np.abs(first.samples).max() == pytest.approx(0.5)


def test_variants_differ_and_repeat() -> None:
    sound = Waveform(np.sin(np.arange(5000)).astype(np.float32), 44_100)
    variants = [script.vary(sound, "a.wav", k) for k in range(3)]
    assert variants[0] is sound
    assert variants[1].sampling_rate != variants[2].sampling_rate
    again = script.vary(sound, "a.wav", 1)
    np.testing.assert_array_equal(again.samples, variants[1].samples)


@pytest.mark.torch
def test_the_head_learns_what_can_be_learned() -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(60) % 3
    features = (np.eye(3)[targets] + rng.normal(0, 0.1, (60, 3))).astype(np.float32)
    weights, bias = script.fit(features, targets, 3)
    assert (np.argmax(features @ weights + bias, axis=1) == targets).all()


def test_doom_sounds_are_read_without_their_padding() -> None:
    levels = bytes([9] * 16 + [128, 192, 0, 128] * 8 + [9] * 16)
    lump = struct.pack("<HHI", 3, 11_025, len(levels)) + levels
    directory = struct.pack("<ii8s", 12, len(lump), b"DSPISTOL")
    wad = b"PWAD" + struct.pack("<ii", 1, 12 + len(lump)) + lump + directory
    ((name, samples, rate),) = sound_corpus.read_doom_sounds(wad)
    assert (name, rate, len(samples)) == ("dspistol", 11_025, 32)
    assert samples[:4] == pytest.approx([0, 0.5, -1, 0])


def test_qt_resources_are_read_by_path() -> None:
    plain, packed = b"as it is", b"\0\0\0\x06" + zlib.compress(b"packed")
    content = b"".join(struct.pack(">I", len(each)) + each for each in (plain, packed))
    names, places = b"", []
    for name in ("", "a.wav", "b.wav"):
        places.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    tree = struct.pack(">IHII", places[0], 2, 2, 1)
    tree += struct.pack(">IHHHI", places[1], 0, 0, 0, 0)
    tree += struct.pack(">IHHHI", places[2], 1, 0, 0, 4 + len(plain))
    head = struct.pack(">4sIIII", b"qres", 1, 20, 20 + len(tree), 20 + len(tree) + len(content))
    files = dict(sound_corpus.read_qt_resources(head + tree + content + names))
    assert files == {"a.wav": plain, "b.wav": b"packed"}
