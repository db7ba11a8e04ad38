"""The demo's media: made whole, decodable, with licences; its queries name real files."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pypdfium2
import pytest
import soundfile
from PIL import Image

from encoder.errors import AnymodalError
from examples.film import FRAME_RATE, Scene, write_film
from examples.packages import Package, fetch
from examples.pictures import PICTURES
from examples.samples import Sample, make_samples
from examples.sounds import RATE, SOUNDS
from examples.texts import PDF_LINES, write_pdf

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return make_samples(tmp_path_factory.mktemp("demo") / "media")


def test_every_sample_has_a_licence_note(samples: list[Sample]) -> None:
    sources = (samples[0][0].parent / "SOURCES.md").read_text("utf-8")
    assert all(f"| {path.name} | {note} |" in sources for path, note in samples)
    assert all(note for _, note in samples)


def test_pictures_decode(samples: list[Sample]) -> None:
    pictures = [path for path, _ in samples if path.suffix in {".png", ".gif", ".webp", ".jpg"}]
    assert len(pictures) >= 7
    for path in pictures:
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("RGB")).std() > 5, path.name


def test_sounds_decode_and_are_heard(samples: list[Sample]) -> None:
    sounds = [path for path, _ in samples if path.suffix in {".wav", ".flac", ".ogg", ".mp3"}]
    assert len(sounds) >= 12
    for path in sounds:
        heard, rate = soundfile.read(path)
        assert len(heard) > rate
        assert np.abs(heard).max() > 0.1, path.name


def test_film_has_three_scenes_and_a_sound_track(samples: list[Sample]) -> None:
    (film,) = [path for path, _ in samples if path.suffix == ".mp4"]
    with av.open(str(film)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert container.streams.video[0].frames == 21 * FRAME_RATE


def test_making_samples_twice_changes_nothing(samples: list[Sample]) -> None:
    folder = samples[0][0].parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    make_samples(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_drawings_are_the_same_every_time() -> None:
    for draw in PICTURES.values():
        assert draw().tobytes() == draw().tobytes()


@pytest.mark.parametrize("name", SOUNDS)
def test_sound_is_finite_within_range_and_repeatable(name: str) -> None:
    sound = SOUNDS[name]()
    assert sound.dtype == np.float32
    assert np.isfinite(sound).all()
    assert 0.5 < np.abs(sound).max() <= 1.0
    assert len(sound) > 3 * RATE
    assert (sound == SOUNDS[name]()).all()


def test_pdf_says_what_was_written(tmp_path: Path) -> None:
    write_pdf(tmp_path / "a.pdf")
    with pypdfium2.PdfDocument(tmp_path / "a.pdf") as document:
        (page,) = document
        said = page.get_textpage().get_text_range()
    assert [line for line in PDF_LINES if line and line not in said] == []


def test_film_keeps_the_order_of_its_scenes(tmp_path: Path) -> None:
    scenes = [
        Scene(Image.new("RGB", (64, 48), colour), np.zeros(100, np.float32), 1.0)
        for colour in ("red", "blue")
    ]
    write_film(tmp_path / "a.mp4", scenes, 16_000)
    with av.open(str(tmp_path / "a.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    first, last = frames[0].mean((0, 1)), frames[-1].mean((0, 1))
    assert len(frames) == 2 * FRAME_RATE
    assert first[0] > 200 > 50 > first[2]
    assert last[2] > 200 > 50 > last[0]


def test_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnymodalError, match=r"anymodal==999"):
        fetch(Package("anymodal", "999"), tmp_path)
