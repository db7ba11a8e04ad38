"""The gain from decoding a film's frames and sound side by side, and encoding meanwhile.

Run by ``make bench-film``. The two ways take turns, so that other load on the machine affects both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.harness.results_pages import table, write_section
from encoder import MultiModalEncoder
from encoder.media import load_image, load_sound, probe
from encoder.types import Item
from examples.film import Scene, write_film
from examples.samples import make_samples
from ingest import IngestConfig, identify, segments
from ingest.kinds.film import frame_segments
from ingest.kinds.sound import sound_segments
from ingest.types import Asset, Segment
from search.store.memory import MemoryStore
from workers.pipeline.ingest_job import IngestJob

SCENE_S = 4.0
_N_SCENES, _N_ROUNDS = 15, 7
_CONFIG = IngestConfig()


@dataclass(frozen=True)
class Gain:
    """Median seconds one after the other and side by side, and the median of the rounds' ratios."""

    serial_s: float
    parallel_s: float
    times: float


def make_film(path: Path, samples: Path, n_scenes: int) -> Path:
    """A film of the demo's pictures and sounds, different ones in each scene."""
    from PIL import Image

    pictures = [load_image(picture) for picture in sorted(samples.glob("*.png"))]
    sounds = [load_sound(sound).samples for sound in sorted(samples.glob("*.wav"))]
    scenes = [
        Scene(
            Image.fromarray(pictures[number % len(pictures)]),
            np.asarray(sounds[number % len(sounds)]),
            SCENE_S,
        )
        for number in range(n_scenes)
    ]
    write_film(path, scenes, 44_100)
    return path


def film_gains(film: Path, n_rounds: int = _N_ROUNDS) -> Mapping[str, Gain]:
    """The gains for decoding alone, and for everything up to rows in a store."""
    encoder = MultiModalEncoder("bundle:english", quantization="auto", enable_dsre=False)

    def whole_serial() -> None:
        decoded = _decode_serially(identify(film, _CONFIG))
        for modality in dict.fromkeys(segment.modality for segment in decoded):
            these = [segment.content for segment in decoded if segment.modality == modality]
            encoder.encode_items([Item(modality, content) for content in these])

    def whole_parallel() -> None:
        job = IngestJob(encoder, MemoryStore(encoder.embed_dim), _CONFIG, transcripts=False)
        assert job.run([str(film)]).ingested == 1

    asset = identify(film, _CONFIG)
    return {
        "decoded": _gain(
            lambda: _decode_serially(asset), lambda: list(segments(asset, _CONFIG)), n_rounds
        ),
        "decoded and encoded": _gain(whole_serial, whole_parallel, n_rounds),
    }


def _decode_serially(asset: Asset) -> list[Segment]:
    path = Path(asset.uri)
    facts = probe(path)
    frames = list(frame_segments(asset, path, _CONFIG, facts))
    return frames + list(sound_segments(asset, path, _CONFIG, facts.sound_start_s))


def _gain(serial: Callable[[], object], parallel: Callable[[], object], n_rounds: int) -> Gain:
    serial(), parallel()  # load what is loaded on first use
    rounds = [(_seconds(serial), _seconds(parallel)) for _ in range(n_rounds)]
    in_turn, beside = map(median, zip(*rounds, strict=True))
    return Gain(in_turn, beside, median(one / other for one, other in rounds))


def _seconds(way: Callable[[], object]) -> float:
    started = perf_counter()
    way()
    return perf_counter() - started


def main() -> None:
    """Measure and write the section."""
    with tempfile.TemporaryDirectory() as name:
        samples = Path(name) / "samples"
        make_samples(samples)
        gains = film_gains(make_film(Path(name) / "film.mp4", samples, _N_SCENES))
    rows = [
        [what, f"{gain.serial_s:.2f}", f"{gain.parallel_s:.2f}", f"{gain.times:.2f}"]
        for what, gain in gains.items()
    ]
    body = (
        f"A film of {_N_SCENES} scenes, {_N_SCENES * SCENE_S:.0f} s, on all cores; medians of "
        f"{_N_ROUNDS} rounds.\n\n"
        + table(["frames and sound", "in turn, s", "side by side, s", "gain"], rows)
    )
    print(body)
    write_section("Films: frames beside sound", "make bench-film", body)


if __name__ == "__main__":
    main()
