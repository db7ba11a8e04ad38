"""Whatever happens to a file, decoding it ends with segments or with a `MediaError`."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from encoder.errors import MediaError
from ingest import IngestConfig, Segment, identify, segments
from tests.support.media import picture, tone, write_film, write_heic, write_pdf, write_sound

KINDS = "jpg png webp gif tiff avif heic wav mp3 ogg m4a mp4 mkv pdf html".split()


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("wholes")
    return {kind: make(folder / f"a.{kind}").read_bytes() for kind in KINDS}


def make(path: Path) -> Path:
    kind = path.suffix[1:]
    if kind in ("jpg", "png", "webp", "gif", "tiff", "avif"):
        Image.fromarray(picture(60, 40)).save(path)
    elif kind == "heic":
        write_heic(path, picture(96, 96), 6, 64)
    elif kind in ("wav", "mp3", "ogg"):
        soundfile.write(path, tone(0.5, 16_000), 16_000)
    elif kind == "m4a":
        write_sound(path, "aac", 0.5)
    elif kind == "pdf":
        write_pdf(path, ["Foxes run.", "Dogs sleep."])
    elif kind == "html":
        path.write_text("<!doctype html><title>T</title><p>Foxes <b>run</b>.</p>")
    else:
        write_film(path, seconds=0.5, size=(64, 48))
    return path


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    n_changed=st.integers(0, 40),
    kept=st.floats(0, 1) | st.just(1.0),
    head_only=st.booleans(),
)
def test_damage_is_reported_and_nothing_else_is_raised(
    wholes: dict[str, bytes],
    tmp_path: Path,
    kind: str,
    seed: int,
    n_changed: int,
    kept: float,
    head_only: bool,
) -> None:
    rng = np.random.default_rng(seed)
    damaged = bytearray(wholes[kind])
    reach = min(len(damaged), 600) if head_only else len(damaged)
    for position in rng.integers(0, reach, n_changed):
        damaged[position] = rng.integers(256)
    path = tmp_path / f"damaged.{kind}"
    path.write_bytes(damaged[: round(len(damaged) * kept)])
    config = IngestConfig(isolate=True)  # a library may crash, as pi_heif does now and then
    told: MediaError | None = None
    found: list[Segment] = []
    try:
        found = list(segments(identify(path, config), config))
    except MediaError as error:
        told = error
    if told is None:
        assert found
    else:
        assert told.remedy
        assert "damaged" in told.problem or "crashed" in told.problem
