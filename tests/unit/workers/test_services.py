"""Reading and hearing beside models that can do neither, with tiny ones of the real classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageDraw, ImageFont

from encoder import MultiModalEncoder
from encoder.models.bundle.services import open_services
from encoder.services.text_services import TextServices
from encoder.system.cache import cache_home
from encoder.types import AUDIO, IMAGE, TEXT
from examples.speech import Speaker
from search.store.memory import MemoryStore
from tests.support import tiny_models as tiny
from tests.support.media import write_film
from workers.pipeline.ingest_job import IngestJob
from workers.pipeline.reports import IngestReport

pytestmark = pytest.mark.slow

SAID = "The museum will be closed on Monday while the paintings are being restored."
RATE = 16_000
Opened = Callable[[str], MultiModalEncoder]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, multilingual_home: Path) -> Path:
    assert multilingual_home.is_dir()
    folder = tmp_path_factory.mktemp("library")
    scan = Image.new("RGB", (960, 720), "white")
    font = ImageFont.load_default(32)
    ImageDraw.Draw(scan).text((80, 80), "Ferry to Oslo at nine", fill="black", font=font)
    scan.save(folder / "scan.png")
    speaker = Speaker(cache_home())
    soundfile.write(folder / "talk.wav", speaker.say(SAID), speaker.sampling_rate)
    hiss = np.random.default_rng(0).normal(0, 0.05, 3 * RATE)
    soundfile.write(folder / "hiss.wav", hiss, RATE)
    write_film(folder / "film.mp4")
    return folder


@pytest.fixture(scope="module")
def encoder_of(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    @cache
    def opened(kind: str) -> MultiModalEncoder:
        return MultiModalEncoder(f"dir:{tiny.save(kind, tmp_path_factory.mktemp(kind))}")

    return opened


def ingest(
    encoder: MultiModalEncoder, folder: Path, **options: bool
) -> tuple[IngestReport, dict[str, dict[str, list[str]]]]:
    """The report, and by file and kind of segment what was stored."""
    store = MemoryStore(encoder.embed_dim)
    report = IngestJob(encoder, store, **options).run(sorted(map(str, folder.iterdir())))
    stored: dict[str, dict[str, list[str]]] = {}
    for asset in store.scan():
        of_kind = stored.setdefault(Path(asset.locations[0]).name, {})
        for row in store._segments.values():
            if row.asset_id == asset.asset_id:
                of_kind.setdefault(str(row.modality), []).append(row.snippet)
    return report, stored


@pytest.mark.parametrize("kind", ["clip", "siglip2"])
def test_a_model_of_photos_finds_what_is_said_and_written(
    encoder_of: Opened, library: Path, kind: str
) -> None:
    report, stored = ingest(encoder_of(kind), library)
    assert stored["scan.png"].keys() == {"image", "text"}
    assert "Oslo" in stored["scan.png"]["text"][0]
    assert stored["talk.wav"].keys() == {"text"}
    assert "museum" in " ".join(stored["talk.wav"]["text"])
    assert stored["film.mp4"].keys() == {"image"}
    ((limit, n_files),) = report.limits.items()
    assert ("audio tower" in limit, n_files) == (True, 2)
    (failure,) = report.failures  # nobody speaks in it
    assert Path(failure.uri).name == "hiss.wav"
    assert "audio tower" in failure.reason


def test_a_model_of_sounds_finds_what_is_written(encoder_of: Opened, library: Path) -> None:
    report, stored = ingest(encoder_of("clap"), library)
    assert stored["scan.png"].keys() == {"text"}
    assert stored["talk.wav"].keys() == {"audio", "text"}
    assert stored["hiss.wav"].keys() == stored["film.mp4"].keys() == {"audio"}
    assert report.failures == []
    ((limit, n_files),) = report.limits.items()
    assert ("image tower" in limit, n_files) == (True, 2)


def test_each_service_can_be_switched_off(encoder_of: Opened, library: Path) -> None:
    off = {"transcripts": False, "read_pictures": False}
    report, stored = ingest(encoder_of("clip"), library, **off)
    assert stored["scan.png"].keys() == {"image"}
    assert {Path(each.uri).name for each in report.failures} == {"talk.wav", "hiss.wav"}
    assert all("switched off" in each.reason for each in report.failures)


def test_a_model_without_texts_is_given_none(encoder_of: Opened, library: Path) -> None:
    class Seeing(MultiModalEncoder):
        modalities = frozenset({IMAGE})

    clip = encoder_of("clip")
    report, stored = ingest(Seeing(clip.model), library)
    assert stored.keys() == {"scan.png", "film.mp4"}
    assert stored["scan.png"].keys() == {"image"}
    assert {"hiss.wav", "talk.wav"} == {Path(each.uri).name for each in report.failures}
    assert any("text tower" in limit for limit in report.limits)


def test_what_is_missing_is_told_by_kind() -> None:
    nothing = TextServices()
    assert nothing.limits({TEXT, IMAGE, AUDIO}).keys() == {IMAGE, AUDIO}
    assert nothing.chosen(read=False, hear=False).limits({TEXT, IMAGE, AUDIO}) == {}
    assert nothing.limits({IMAGE}).keys() == {TEXT, IMAGE, AUDIO}


def test_a_bundle_has_its_own_services(bundle_home: Path, multilingual_home: Path) -> None:
    english, other = open_services("bundle:english"), open_services("hf:org/name")
    assert english.reader is None
    assert english.speech._whisper._folder == bundle_home / "speech"  # type: ignore[union-attr]
    assert other.speech is open_services("bundle:default").speech
    assert other.speech._whisper._folder == multilingual_home / "speech"  # type: ignore[union-attr]
