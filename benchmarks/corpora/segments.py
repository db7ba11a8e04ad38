"""Twenty thousand mixed segments, with commit rows as ingest writes them; the same in every run.

Their embeddings are real ones of texts, pictures and sounds, and others near them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.random import Generator

from encoder import MultiModalEncoder
from encoder.media import load_image, load_sound
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Item, Modality, Waveform
from search.store.base import VectorStore
from search.store.schema import segment_id
from search.types import AssetRow, SegmentRow

_SHARES = {TEXT: 0.6, IMAGE: 0.25, AUDIO: 0.15}
_PER_ASSET = {TEXT: 4, IMAGE: 1, AUDIO: 3}
_MEDIA_TYPES = {TEXT: "text/plain", IMAGE: "image/jpeg", AUDIO: "audio/wav"}
_TAGS = ("holiday", "work", "archive", "field", "studio")
_JITTER = 0.6
"""The length of the noise added to a unit vector: neighbours have a cosine of about .75."""
_N_TEXTS, _N_CROPS, _N_CUTS = 600, 90, 30
_WINDOW_CHARS = 800
_ASSETS_PER_WRITE = 250


@dataclass(frozen=True, eq=False)
class _Base:
    """Real embeddings [n, embed_dim] and what each one is of."""

    embeddings: Embeddings
    texts: Sequence[str]


Row = tuple[AssetRow, list[SegmentRow]]
"""An asset with its segments."""


def fill(store: VectorStore, encoder: MultiModalEncoder, n_segments: int = 20_000) -> int:
    """Write about ``n_segments`` segments and their assets; the number of segments written."""
    return write(store, rows(encoder, n_segments))


def rows(
    encoder: MultiModalEncoder, n_segments: int, shares: Mapping[Modality, float] = _SHARES
) -> Iterator[Row]:
    """Assets with about ``n_segments`` segments, the same each time.

    Args:
        encoder: encodes the real ones among them.
        n_segments: in all.
        shares: of the modalities; together 1.
    """
    rng = np.random.default_rng(0)
    counts = {kind: round(n_segments * share) for kind, share in shares.items()}
    for modality, base in _bases(encoder, counts).items():
        n_assets = counts[modality] // _PER_ASSET[modality]
        yield from _assets(modality, base, n_assets, encoder.space.fingerprint, rng)


def write(store: VectorStore, some: Iterable[Row]) -> int:
    """Write assets and their segments; the number of segments written."""
    n_written = 0
    left = iter(some)
    while batch := list(islice(left, _ASSETS_PER_WRITE)):
        segments = [segment for _, of_asset in batch for segment in of_asset]
        store.write([asset for asset, _ in batch], segments)
        n_written += len(segments)
    return n_written


def _assets(
    modality: Modality, base: _Base, n_assets: int, fingerprint: str, rng: Generator
) -> Iterator[Row]:
    for number in range(n_assets):
        asset_id = f"{modality}-{number:06d}"
        metadata = {
            "title": f"{modality} {number}",
            "tags": [str(tag) for tag in rng.choice(_TAGS, 2, replace=False)],
            "modified": 1.7e9 + 3600.0 * number,
            "language": "en",
        }
        n = _PER_ASSET[modality]
        asset = AssetRow(
            asset_id,
            modality,
            _MEDIA_TYPES[modality],
            int(rng.integers(1_000, 1_000_000)),
            {modality: n},
            [f"/data/{modality}/{number // 100}/{number}"],
            metadata,
        )
        key = [segment_id(asset_id, modality, index, fingerprint) for index in range(n)]
        yield asset, [_segment(key[i], asset_id, modality, i, base, rng) for i in range(n)]


def _segment(
    key: str, asset_id: str, modality: Modality, index: int, base: _Base, rng: Generator
) -> SegmentRow:
    place = int(rng.integers(len(base.embeddings)))
    noise = rng.normal(size=base.embeddings.shape[1])
    embedding = base.embeddings[place] + _JITTER * noise / np.linalg.norm(noise)
    timed = modality == AUDIO
    return SegmentRow(
        key,
        asset_id,
        modality,
        index,
        embedding.astype(np.float32),
        start_s=5.0 * index if timed else None,
        end_s=5.0 * index + 5 if timed else None,
        char_start=_WINDOW_CHARS * index if modality == TEXT else None,
        char_end=_WINDOW_CHARS * (index + 1) if modality == TEXT else None,
        snippet=base.texts[place] if modality == TEXT else "",
    )


def _bases(encoder: MultiModalEncoder, counts: Mapping[Modality, int]) -> dict[Modality, _Base]:
    """The real embeddings; no more of a kind than are wanted."""
    from examples.samples import make_samples

    texts = _texts()
    with tempfile.TemporaryDirectory() as name:
        make_samples(Path(name))
        items = {TEXT: [Item(TEXT, text) for text in texts], **_media(Path(name))}
    return {
        kind: _Base(encoder.encode_items(items[kind][:count]), texts)
        for kind, count in counts.items()
    }


def _texts() -> list[str]:
    """Windows of text from Python's manual."""
    from pydoc_data.topics import topics

    whole = "\n".join(topics[name] for name in sorted(topics))
    starts = range(0, len(whole) - _WINDOW_CHARS, len(whole) // _N_TEXTS)
    return [" ".join(whole[start : start + _WINDOW_CHARS].split()) for start in starts]


def _media(samples: Path) -> dict[Modality, list[Item]]:
    """Crops of the sample pictures, and parts of the sample sounds."""
    rng = np.random.default_rng(0)
    pictures = [load_image(path) for path in sorted(samples.glob("*.png"))]
    sounds = [load_sound(path) for path in sorted(samples.glob("*.wav"))]
    crops = [_crop(pictures[i % len(pictures)], rng) for i in range(_N_CROPS)]
    cuts = [
        Waveform(np.resize(sounds[i % len(sounds)].samples, 5 * 44_100), 44_100)
        for i in range(min(_N_CUTS, len(sounds)))
    ]
    return {
        IMAGE: [Item(IMAGE, crop) for crop in crops],
        AUDIO: [Item(AUDIO, cut) for cut in cuts],
    }


def _crop(rgb: np.ndarray, rng: Generator) -> np.ndarray:
    height, width = rgb.shape[:2]
    top, left = rng.integers(0, height // 4), rng.integers(0, width // 4)
    return np.ascontiguousarray(rgb[top : top + 3 * height // 4, left : left + 3 * width // 4])
