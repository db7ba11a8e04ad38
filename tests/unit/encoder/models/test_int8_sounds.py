"""The sound network in int8: when it runs, how near to float, and what that does to the space."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.errors import ModelError
from encoder.models.bundle import kinds
from encoder.models.bundle.declaration import read_bundle
from encoder.models.bundle.kinds import FLOAT, INT8
from encoder.models.bundle.model import network, parse_precision
from encoder.prepare.bundle import graphs as bundle_graphs
from encoder.runtime.base import Session
from encoder.runtime.onnx import OnnxSession
from encoder.system.disk import sha256_of
from encoder.towers.audio.logmel import mel_power
from encoder.towers.audio.tower import cut
from encoder.types import AUDIO, Item, Waveform
from examples import sounds

pytestmark = pytest.mark.slow

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
Blocks = NDArray[np.float32]


def heard(draw: Callable[[], sounds.Samples]) -> Waveform:
    return Waveform(draw(), sounds.RATE)


def run(session: Session, blocks: Blocks) -> list[NDArray[np.float32]]:
    return session.run({"blocks": blocks})


@pytest.fixture(scope="module")
def blocks() -> Blocks:
    return np.concatenate([cut(mel_power(heard(draw)))[:1] for draw in DRAWS[:4]])


@pytest.fixture(scope="module")
def sessions(bundle_home: Path) -> Mapping[str, OnnxSession]:
    names = (FLOAT, INT8)
    return {name: OnnxSession(bundle_home / "audio" / name, n_threads=1) for name in names}


@pytest.fixture(scope="module")
def encoders(bundle_home: Path) -> Mapping[str | None, MultiModalEncoder]:
    assert bundle_home.is_dir()
    config = EncoderConfig(n_threads=1)
    return {wish: MultiModalEncoder(quantization=wish, config=config) for wish in (None, "int8")}


def test_sounds_are_near_to_float(encoders: Mapping[str | None, MultiModalEncoder]) -> None:
    items = [Item(AUDIO, heard(draw)) for draw in DRAWS]
    plain, int8 = (encoders[wish].encode_items(items) for wish in (None, "int8"))

    cosines = (plain * int8).sum(axis=1)
    assert cosines.min() > 0.99
    assert cosines.mean() > 0.997
    assert cosines.min() < 0.999999  # it is a different network


@pytest.mark.parametrize("wish", ["int8", "auto"])
def test_the_int8_file_runs(
    wish: str, bundle_home: Path, sessions: Mapping[str, OnnxSession], blocks: Blocks
) -> None:
    opened = parse_precision(ENGLISH, wish).open(network(ENGLISH, bundle_home, "audio"), 1)

    for found, wanted in zip(run(opened, blocks), run(sessions[INT8], blocks), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_part_without_the_file_runs_in_float(
    tmp_path: Path, bundle_home: Path, sessions: Mapping[str, OnnxSession], blocks: Blocks
) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / FLOAT).symlink_to(bundle_home / "audio" / FLOAT)

    opened = parse_precision(ENGLISH, "auto").open(network(ENGLISH, tmp_path, "audio"), 1)

    for found, wanted in zip(run(opened, blocks), run(sessions[FLOAT], blocks), strict=True):
        np.testing.assert_array_equal(found, wanted)


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


def test_preparing_again_gives_the_same_file(tmp_path: Path, bundle_home: Path) -> None:
    (tmp_path / FLOAT).symlink_to(bundle_home / "audio" / FLOAT)

    bundle_graphs.quantize_audio(tmp_path)

    manifest = json.loads((bundle_home / "audio" / "manifest.json").read_text("utf-8"))
    assert sha256_of(tmp_path / INT8) == manifest["files"][INT8]["sha256"]


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
