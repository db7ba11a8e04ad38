"""Queries without end, no two alike, so that nothing can be answered from a cache."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from encoder.media import load_image, load_sound

_WORDS = (
    "red boat harbour dog beach violin storm engine bread market child bridge river old night "
    "bird train garden winter street guitar crowd rain coffee horse mountain window music"
).split()
_PLACES = "in on near under behind with without over".split()
_SOUND_S, _RATE = 5, 44_100


def texts(seed: int = 0, **options: object) -> Iterator[bytes]:
    """Searches for `sentences`, with further fields of the request."""
    return (_body({"text": text}, **options) for text in sentences(seed))


def sentences(seed: int = 0) -> Iterator[str]:
    """Sentences of four to nine words."""
    rng = np.random.default_rng(seed)
    while True:
        words = rng.choice(_WORDS, int(rng.integers(3, 7)))
        place = rng.choice(_PLACES)
        yield f"a {words[0]} {place} the {' '.join(words[1:])} {rng.integers(10**9)}"


def images(samples: Path, seed: int = 0) -> Iterator[bytes]:
    """JPEGs of 480 × 360 pixels, cut from the samples."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    pictures = [Image.fromarray(load_image(path)) for path in sorted(samples.glob("*.png"))]
    while True:
        picture = pictures[rng.integers(len(pictures))]
        left, top = (int(rng.integers(side // 4)) for side in picture.size)
        box = (left, top, left + 3 * picture.width // 4, top + 3 * picture.height // 4)
        data = io.BytesIO()
        picture.crop(box).resize((480, 360)).save(data, "JPEG", quality=85)
        yield _body({"image": base64.b64encode(data.getvalue()).decode()})


def sounds(samples: Path, seed: int = 0) -> Iterator[bytes]:
    """WAVs of five seconds, 16 bits at 44.1 kHz, made from the samples at varying loudness."""
    import soundfile

    rng = np.random.default_rng(seed)
    found = [load_sound(path).samples for path in sorted(samples.glob("*.wav"))]
    while True:
        sound = np.resize(found[rng.integers(len(found))], _SOUND_S * _RATE)
        data = io.BytesIO()
        soundfile.write(data, sound * rng.uniform(0.3, 0.9), _RATE, format="WAV", subtype="PCM_16")
        yield _body({"audio": base64.b64encode(data.getvalue()).decode()})


def _body(term: dict[str, str], **options: object) -> bytes:
    return json.dumps({"query": [term], "limit": 10, **options}).encode()
