"""What it gains to decode a film's frames and sound side by side, and to encode meanwhile."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoder import MultiModalEncoder
from encoder.media import load_image, load_sound, probe
from encoder.types import Item
from examples.film import Scene, write_film
from ingest import IngestConfig, identify, segments
from ingest.decode import video
from ingest.decode.audio import sound_segments
from ingest.types import Asset, Segment
from search.store.memory import MemoryStore
from workers.jobs import IngestJob

_SCENE_S = 4.0
_CONFIG = IngestConfig()


@dataclass(frozen=True)
class Gain:
    """Least seconds one after the other, and side by side."""

    serial_s: float
    parallel_s: float

    @property
    def times(self) -> float:
        """How many times less."""
        return self.serial_s / self.parallel_s


def make_film(path: Path, samples: Path, n_scenes: int) -> Path:
    """A film of the demo's pictures and sounds, each scene another."""
    from PIL import Image

    pictures = [load_image(picture) for picture in sorted(samples.glob("*.png"))]
    sounds = [load_sound(sound).samples for sound in sorted(samples.glob("*.wav"))]
    scenes = [
        Scene(
            Image.fromarray(pictures[number % len(pictures)]),
            np.asarray(sounds[number % len(sounds)]),
            _SCENE_S,
        )
        for number in range(n_scenes)
    ]
    write_film(path, scenes, 44_100)
    return path


def film_gains(film: Path, repeats: int = 3) -> Mapping[str, Gain]:
    """For decoding alone, and for the whole way to rows in a store."""
    encoder = MultiModalEncoder(quantization="auto")

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
        "decoded": Gain(
            _least_s(lambda: _decode_serially(asset), repeats),
            _least_s(lambda: list(segments(asset, _CONFIG)), repeats),
        ),
        "decoded and encoded": Gain(
            _least_s(whole_serial, repeats), _least_s(whole_parallel, repeats)
        ),
    }


def _decode_serially(asset: Asset) -> list[Segment]:
    film = Path(asset.uri)
    facts = probe(film)
    frames = list(video.frame_segments(asset, film, _CONFIG, facts))
    return frames + list(sound_segments(asset, film, _CONFIG, facts.sound_start_s))


def _least_s(way: Callable[[], object], repeats: int) -> float:
    way()  # what loads on first use
    return min(timeit.repeat(way, number=1, repeat=repeats))
