"""Encodes queries: cached, or batched with concurrent ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np

from encoder.space import Space
from encoder.system.allocator import give_back
from encoder.system.batched import Batched
from encoder.system.metering import Meter, current_meter, metered
from encoder.system.stopping import current_check, stopped_by
from encoder.types import (
    DOCUMENT,
    TEXT,
    Clip,
    Embeddings,
    Item,
    Modality,
    Role,
    Waveform,
)
from search.query.byte_cache import ByteCache
from search.query.terms import ItemEncoder, in_pieces

_OVERHEAD_BYTES = 512  # of a key and of Python's objects
_SHARE_APART = 8
_SHORT_CHARS = 400
"""Longer than most questions: a longer text takes from some fifty milliseconds to seconds."""
_CHARS_AT_ONCE = 2000
"""Of longer texts that one request sends; some 500 tokens, a quarter of a second of one core."""


class _Kind(NamedTuple):
    """What can be encoded together."""

    modality: Modality
    role: Role
    is_long: bool


_LONG = _Kind(TEXT, DOCUMENT, True)


class _EncodedItem(NamedTuple):
    row: Embeddings
    cpu_s: float
    tokens: float
    kept: float
    """Its shares of its batch, see `encoder.system.metering.Meter`."""


class QueryEncoder:
    """An `ItemEncoder` with a cache, which batches concurrent calls. Safe to use from threads.

    Queries and documents share both, unless the model has a tower or a prompt for each. Long texts
    are encoded beside the batches, so that no short query waits for them, and in small pieces, for
    which requests take turns: however many there are, they occupy the networks once. Each ends when
    nobody waits for it any more (`encoder.system.stopping`). What the networks take is counted for
    the requests of a batch (`encoder.system.metering`).

    Args:
        encoder: does the work; safe to use from threads.
        max_items: the most items of a batch, unless one call alone has more.
        cache_bytes: the most memory for embeddings; 0 caches none.
        observe: called with the modality and the size of each batch.
    """

    def __init__(
        self,
        encoder: ItemEncoder,
        *,
        max_items: int = 32,
        cache_bytes: int = 0,
        observe: Callable[[Modality, int], None] = lambda _modality, _n: None,
    ) -> None:
        self._encoder = encoder
        self._observe = observe
        self._batched: Batched[_Kind, Item, _EncodedItem] = Batched(
            self._encode, max_items=lambda query_kind: 1 if query_kind.is_long else max_items
        )
        self.cache: ByteCache[Embeddings] = ByteCache(
            cache_bytes, lambda row: row.nbytes + _OVERHEAD_BYTES
        )

    def apart(self) -> QueryEncoder:
        """The same with a cache of its own, so that no time tells what others asked."""
        other = copy(self)
        other.cache = ByteCache(self.cache.max_bytes // _SHARE_APART, self.cache.size)
        return other

    @property
    def model(self) -> str:
        return self._encoder.model

    @property
    def modalities(self) -> frozenset[Modality]:
        return self._encoder.modalities

    @property
    def space(self) -> Space:
        """The space of the embeddings."""
        return self._encoder.space

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        """Mixed items to unit rows [len(items), embed_dim], in their order."""
        space = self.space
        rows = np.empty((len(items), space.embed_dim), np.float32)
        meter = current_meter()
        missing: dict[_Kind, list[int]] = {}
        keys = [_key(item, space) for item in items]
        for position, (item, key) in enumerate(zip(items, keys, strict=True)):
            cached_row = None if key is None else self.cache.find(key)
            if cached_row is None:
                missing.setdefault(_kind(item, space), []).append(position)
            else:
                rows[position] = cached_row
        for query_kind, positions in missing.items():
            pieces = in_pieces(positions, lambda at: len(items[at].content), _CHARS_AT_ONCE)
            for piece in pieces if query_kind.is_long else [positions]:
                encoded = self._batched(query_kind, [items[position] for position in piece])
                for position, fresh in zip(piece, encoded, strict=True):
                    rows[position] = fresh.row
                    if (key := keys[position]) is not None:
                        self.cache.keep(key, fresh.row.copy())
                    if meter:
                        meter.add(fresh.cpu_s)
                        meter.read(fresh.tokens, fresh.kept)
        return rows

    def n_waiting(self, item: Item) -> int:
        """How many calls wait for the running batch of such items."""
        return self._batched.n_waiting(_kind(item, self.space))

    def _encode(self, query_kind: _Kind, items: Sequence[Item]) -> Sequence[_EncodedItem]:
        self._observe(query_kind.modality, len(items))
        meter = Meter()
        # A batch is for several requests, and goes on when the one whose thread this is has left.
        with stopped_by(current_check() if query_kind.is_long else None), metered(meter):
            rows = self._encoder.encode_items(items)
        if query_kind.modality != TEXT:
            give_back()  # 40 MB after ten searches by pictures and sounds; takes about 1 ms
        shares = [count / len(items) for count in (meter.cpu_s, meter.tokens, meter.kept)]
        return [_EncodedItem(row, *shares) for row in rows]


def _kind(item: Item, space: Space) -> _Kind:
    if isinstance(item.content, str) and len(item.content) > _SHORT_CHARS:
        return _LONG
    return _Kind(item.modality, space.role_of(item), False)


def _key(item: Item, space: Space) -> Hashable | None:
    digest = content_digest(item.content)
    return digest and (space.fingerprint, str(item.modality), space.role_of(item), digest)


def content_digest(content: Any) -> bytes | None:
    """A digest of 16 bytes; None for a plug-in's content, whose type is unknown here.

    >>> content_digest("rain") == content_digest("rain"), content_digest(object())
    (True, None)
    """
    match content:
        case str():
            chunks: list[Any] = ["text", content.encode("utf-8", "surrogatepass")]
        case np.ndarray():
            chunks = _array(content)
        case Waveform():
            chunks = ["waveform", content.sampling_rate, *_array(content.samples)]
        case Clip():
            sound = content_digest(content.sound) if content.sound else b""
            chunks = ["clip", sound or b"", *_array(content.frames)]
        case _:
            return None
    hasher = hashlib.blake2b(digest_size=16)
    for chunk in chunks:
        hasher.update(chunk if not isinstance(chunk, str | int) else f"{chunk};".encode())
    return hasher.digest()


def _array(array: Any) -> list[Any]:
    return [f"{array.dtype}{array.shape}", np.ascontiguousarray(array).data.cast("B")]
