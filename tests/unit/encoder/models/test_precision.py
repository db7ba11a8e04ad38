"""Precisions of the bundle: which files run, and what that does to the space."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.errors import ModelError
from encoder.loading import load_model
from encoder.models.bundle import kinds
from encoder.models.bundle.declaration import bundle_names, read_bundle
from encoder.models.bundle.kinds import FLOAT, INT8, kind_named
from encoder.models.bundle.model import network, parse_precision, space_of
from encoder.prepare.bundle import graphs as bundle_graphs
from encoder.runtime.onnx import OnnxSession
from encoder.system.disk import sha256_of
from encoder.towers.audio.logmel import mel_power
from encoder.towers.audio.tower import cut
from encoder.types import AUDIO, IMAGE, TEXT, Item, Waveform
from examples import pictures, sounds

TEXTS = [
    "A red car on a wet road",
    "the council voted on the budget for the coming year",
    "rain",
    "def main(): return 0",
    "日本語のテキスト 🙂",
    "word " * 300,
]


@pytest.fixture(scope="module")
def encoders(bundle_home: Path) -> Mapping[str | None, MultiModalEncoder]:
    assert bundle_home.is_dir()
    config = EncoderConfig(enable_dsre=False, n_threads=1)
    return {
        wish: MultiModalEncoder(quantization=wish, config=config) for wish in (None, "int8", "auto")
    }


def rows(encoder: MultiModalEncoder, **content: object) -> np.ndarray:
    ((_, found),) = encoder.encode_multimodal(**content).by_modality.items()
    return found


def test_int8_has_a_space_of_its_own_which_auto_shares(
    encoders: Mapping[str | None, MultiModalEncoder],
) -> None:
    plain, int8, auto = (encoders[wish].space for wish in (None, "int8", "auto"))

    assert int8.fingerprint == auto.fingerprint != plain.fingerprint
    assert int8.identity["quantization"].startswith("int8 ")
    assert "quantization" not in plain.identity


def test_int8_texts_are_near_to_float(encoders: Mapping[str | None, MultiModalEncoder]) -> None:
    plain, int8, auto = (rows(encoders[wish], text=TEXTS) for wish in (None, "int8", "auto"))

    cosines = (plain * int8).sum(axis=1)
    assert cosines.min() > 0.99
    assert cosines.mean() > 0.996
    assert cosines.max() < 0.999999  # it is a different network
    np.testing.assert_allclose(int8, auto, atol=1e-6)


def test_int8_pictures_are_near_to_float(
    encoders: Mapping[str | None, MultiModalEncoder],
) -> None:
    draws = (pictures.wall_clock, pictures.traffic_light, pictures.crossword, pictures.candle)
    drawn = [np.asarray(draw().convert("RGB")) for draw in draws]
    plain, int8 = (rows(encoders[wish], image=drawn) for wish in (None, "int8"))

    cosines = (plain * int8).sum(axis=1)
    assert cosines.min() > 0.97
    assert cosines.max() < 0.999999


@pytest.fixture
def folder(tmp_path: Path, bundle_home: Path) -> Path:
    """A tower as `anymodal models quantize` leaves it."""
    folder = tmp_path / "quantized"
    folder.mkdir()
    shutil.copy(bundle_home / "text" / "model.int8.onnx", folder / "model.onnx")
    tell(folder)
    return folder


def tell(folder: Path, **facts: str) -> None:
    sha256 = sha256_of(folder / "model.onnx")
    facts = {"model": "bundle:english", "tower": "text", "sha256": sha256, **facts}
    (folder / "manifest.json").write_text(json.dumps(facts))


def test_a_folder_replaces_its_tower(
    folder: Path, encoders: Mapping[str | None, MultiModalEncoder]
) -> None:
    encoder = MultiModalEncoder(
        config=EncoderConfig(quantization=str(folder), enable_dsre=False, n_threads=1)
    )

    assert encoder.space.fingerprint not in {e.space.fingerprint for e in encoders.values()}
    assert sha256_of(folder / "model.onnx") in encoder.space.identity["quantization"]
    found, wanted = (rows(e, text=TEXTS) for e in (encoder, encoders["int8"]))
    assert (found * wanted).sum(axis=1).min() > 0.999


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: tell(f, sha256="1" * 64), r"model\.onnx is missing, or not.*models quantize"),
        (lambda f: (f / "model.onnx").unlink(), r"model\.onnx is missing"),
        (lambda f: (f / "manifest.json").unlink(), "holds no quantized tower"),
        (lambda f: tell(f, tower="smell"), "Towers of bundle:english can be replaced"),
        (lambda f: tell(f, model="hf:a/b"), "Towers of bundle:english can be replaced"),
        (shutil.rmtree, r"is neither a known.*\"int8\", \"auto\", None"),
    ],
)
def test_a_folder_that_does_not_hold_its_tower_is_refused(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=message):
        parse_precision(read_bundle("english"), str(folder))


def test_other_models_have_precisions_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'int9' is not a precision of hf:a/b\..*int8, int4"):
        load_model("hf:a/b", quantization="int9")
    with pytest.raises(ModelError, match="does not exist"):  # and not because of its quantization
        load_model(f"dir:{tmp_path / 'nowhere'}", quantization="auto")


ENGLISH = read_bundle("english")
DRAWS = (
    sounds.sea_waves,
    sounds.rain,
    sounds.thunder,
    sounds.engine,
    sounds.clock_ticking,
    sounds.siren,
    sounds.church_bell,
    sounds.piano_tune,
)


def heard(draw: Callable[[], sounds.Samples]) -> Waveform:
    return Waveform(draw(), sounds.RATE)


@pytest.mark.slow
def test_int8_sounds_are_near_to_float(encoders: Mapping[str | None, MultiModalEncoder]) -> None:
    items = [Item(AUDIO, heard(draw)) for draw in DRAWS]
    plain, int8 = (encoders[wish].encode_items(items) for wish in (None, "int8"))

    cosines = (plain * int8).sum(axis=1)
    assert cosines.min() > 0.95  # the labels of which a row is made are few
    assert cosines.mean() > 0.98
    assert cosines.min() < 0.999999  # it is a different network


@pytest.mark.slow
def test_a_part_without_the_file_runs_in_float(tmp_path: Path, bundle_home: Path) -> None:
    own = bundle_home / "audio" / FLOAT
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / FLOAT).symlink_to(own)
    blocks = np.concatenate([cut(mel_power(heard(draw)))[:1] for draw in DRAWS[:4]])

    opened = parse_precision(ENGLISH, "auto").open(network(ENGLISH, tmp_path, "audio"), 1)

    sessions = (opened, OnnxSession(own, n_threads=1))
    for found, wanted in zip(*(each.run({"blocks": blocks}) for each in sessions), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow
def test_the_space_changes_with_the_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = parse_precision(ENGLISH, "int8").identity
    other = tmp_path / "audio.json"
    other.write_text(kinds.AUDIO_RANGES.read_text("utf-8").replace("[0, 14.8", "[0, 14.9"))

    monkeypatch.setattr(kinds, "AUDIO_RANGES", other)

    assert (
        parse_precision(ENGLISH, "int8").identity
        == parse_precision(ENGLISH, "auto").identity
        != before
    )


@pytest.mark.slow
def test_preparing_again_gives_the_same_file(tmp_path: Path, bundle_home: Path) -> None:
    (tmp_path / FLOAT).symlink_to(bundle_home / "audio" / FLOAT)

    bundle_graphs.quantize_audio(tmp_path)

    manifest = json.loads((bundle_home / "audio" / "manifest.json").read_text("utf-8"))
    assert sha256_of(tmp_path / INT8) == manifest["files"][INT8]["sha256"]


@pytest.mark.slow
def test_a_network_that_hears_otherwise_is_refused(
    tmp_path: Path, bundle_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FLOAT).symlink_to(bundle_home / "audio" / FLOAT)
    ranges = json.loads(kinds.AUDIO_RANGES.read_text("utf-8"))
    other = tmp_path / "audio.json"
    other.write_text(json.dumps({name: [0, high / 20] for name, (_, high) in ranges.items()}))
    monkeypatch.setattr(bundle_graphs, "AUDIO_RANGES", other)

    with pytest.raises(ModelError, match=r"features have a cosine of .*pyproject\.toml"):
        bundle_graphs.quantize_audio(tmp_path)


RAIN = ["the sound of rain", "Regen auf dem Dach", "下雨的声音"]
BELL = ["a church bell", "eine Kirchenglocke", "教堂的钟声"]


@pytest.fixture(scope="module")
def encoder(multilingual_home: Path) -> MultiModalEncoder:
    assert multilingual_home.is_dir()
    config = EncoderConfig(n_threads=1)
    return MultiModalEncoder("bundle:multilingual", quantization="int8", config=config)


@pytest.mark.parametrize("name", bundle_names())
def test_all_that_a_bundle_names_is_there(name: str) -> None:
    declared = read_bundle(name)
    assert declared.size_bytes <= 350e6
    assert set(declared.calibration) == {TEXT, IMAGE, AUDIO}
    for part in declared.parts.values():
        assert kind_named(part.kind).open
        assert all(path.is_file() for path in filter(None, (*part.tables.values(), part.gate)))
        assert all(len(wheel.sha256) == 64 and wheel.members for wheel in part.wheels)


def test_reading_pictures_is_no_part_of_the_space() -> None:
    identity = space_of(read_bundle("multilingual"), "int8").identity
    assert {"text", "image", "audio", "speech", "tables"} <= identity.keys()
    assert "ocr" not in identity


def test_a_question_finds_its_answer_in_another_language(encoder: MultiModalEncoder) -> None:
    told = [
        "The ferry to the island leaves at nine in the morning.",
        "On Sundays the bakery sells nothing but rolls.",
        "The bridge was destroyed by the flood of 1923.",
    ]
    asked = ["什么时候有船去岛上？", "Was gibt es sonntags beim Bäcker?", "桥是什么时候被毁的？"]
    rows = encoder.encode_multimodal(text=told).text
    queries = encoder.encode_multimodal(text=asked, role="query").text
    assert (queries @ rows.T).argmax(axis=1).tolist() == [0, 1, 2]


def test_a_sound_is_called_by_its_name_in_three_languages(encoder: MultiModalEncoder) -> None:
    drawn = (sounds.rain(), sounds.church_bell())
    heard = [Waveform(samples, sounds.RATE) for samples in drawn]
    rows = encoder.encode_multimodal(audio=heard).audio
    for rain, bell in zip(RAIN, BELL, strict=True):
        queries = encoder.encode_multimodal(text=[rain, bell], role="query").text
        assert (rows @ queries.T).argmax(axis=1).tolist() == [0, 1]


def test_a_picture_has_a_row_for_sentences_and_one_for_names(encoder: MultiModalEncoder) -> None:
    picture = np.full((64, 64, 3), 128, np.uint8)
    (rows,) = encoder.encode_rows([Item(IMAGE, picture)])
    assert rows.shape == (2, 384)
    assert len(encoder.space.calibration[IMAGE].further) == 1
