"""Embeddings of what was searched with lately: people page, refine and repeat."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from encoder.space import Space
from encoder.types import Clip, Embeddings, Item, Spectrogram, Waveform
from search.batching.lru import ByteCache
from search.query.terms import ItemEncoder

_OVERHEAD_BYTES = 512  # of a key and of Python's objects


class CachedEncoder:
    """An `ItemEncoder` that remembers. Safe to use from threads.

    Queries and documents share the cache, unless the model encodes them differently.

    Args:
        encoder: encodes what is not remembered.
        max_bytes: the most memory for embeddings; 0 remembers nothing.
    """

    def __init__(self, encoder: ItemEncoder, max_bytes: int) -> None:
        self._encoder = encoder
        self.cache: ByteCache[Embeddings] = ByteCache(
            max_bytes, lambda row: row.nbytes + _OVERHEAD_BYTES
        )

    @property
    def space(self) -> Space:
        """The space of the embeddings."""
        return self._encoder.space

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        """Mixed items to unit rows [len(items), embed_dim], in their order."""
        rows = np.empty((len(items), self.space.embed_dim), np.float32)
        keys = [self._key(item) for item in items]
        missing: list[int] = []
        for place, key in enumerate(keys):
            found = None if key is None else self.cache.find(key)
            if found is None:
                missing.append(place)
            else:
                rows[place] = found
        if missing:
            rows[missing] = self._encoder.encode_items([items[place] for place in missing])
            for place in missing:
                if keys[place] is not None:
                    self.cache.keep(keys[place], rows[place].copy())
        return rows

    def _key(self, item: Item) -> Hashable | None:
        digest = content_digest(item.content)
        if digest is None:
            return None
        role = self.space.role_of(item)
        return self.space.fingerprint, str(item.modality), role, digest


def content_digest(content: Any) -> bytes | None:
    """16 bytes that only equal content has; None for content of a plug-in, which is unknown here.

    >>> content_digest("rain") == content_digest("rain"), content_digest(object())
    (True, None)
    """
    match content:
        case str():
            parts: list[Any] = ["text", content.encode("utf-8", "surrogatepass")]
        case np.ndarray():
            parts = _array(content)
        case Waveform():
            parts = ["waveform", content.sampling_rate, *_array(content.samples)]
        case Spectrogram():
            parts = ["spectrogram", content.sampling_rate, *_array(content.power)]
        case Clip():
            sound = content_digest(content.sound) if content.sound else b""
            parts = ["clip", sound or b"", *_array(content.frames)]
        case _:
            return None
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        hasher.update(part if not isinstance(part, str | int) else f"{part};".encode())
    return hasher.digest()


def _array(array: Any) -> list[Any]:
    return [f"{array.dtype}{array.shape}", np.ascontiguousarray(array).data.cast("B")]
