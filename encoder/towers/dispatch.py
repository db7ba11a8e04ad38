"""Items of several modalities to rows: the tower of each, and batches of similar length."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from operator import call
from threading import Lock
from typing import Any

import numpy as np

from encoder.config import EncoderConfig
from encoder.errors import InputError, ModelError
from encoder.registry import registered_modalities
from encoder.runtime.base import all_at_once
from encoder.space import Space, l2_normalize
from encoder.system.metering import current_meter
from encoder.towers.base import (
    Encoded,
    EncoderObserver,
    PluginTower,
    Prepared,
    TextStats,
    forward,
    loaded,
    n_rows_of,
)
from encoder.towers.joint import film_items, pool_film
from encoder.towers.model import Model
from encoder.types import (
    AUDIO,
    DOCUMENT,
    IMAGE,
    QUERY,
    TEXT,
    VIDEO,
    Embeddings,
    Item,
    Modality,
    Role,
)

# Tokenizing, resizing and spectrograms release the GIL for most of their time.
_PREPARE_THREADS = 2
_SHORT_CHARS = 5000


def bucket_by_length(
    lengths: Sequence[int], *, max_items: int, max_tokens: int
) -> Iterator[list[int]]:
    """Split indices into batches of neighbours in length, shortest first.

    A batch holds at most ``max_items`` items and, padded to its longest, at most
    ``max_tokens`` tokens; a longer item gets a batch to itself.

    >>> list(bucket_by_length([9, 2, 3], max_items=2, max_tokens=10))
    [[1, 2], [0]]
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        full = len(batch) == max_items or lengths[index] * (len(batch) + 1) > max_tokens
        if batch and full:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def scatter(
    parts: Sequence[tuple[Sequence[int], Embeddings]], n_items: int, n_rows: int, embed_dim: int
) -> Embeddings:
    """Place each part's rows at its indices; float32 [n_items, n_rows, embed_dim]."""
    rows = np.zeros((n_items, n_rows, embed_dim), np.float32)
    for indices, embeddings in parts:
        rows[list(indices)] = embeddings
    return rows


def joined(
    parts: Sequence[tuple[Sequence[int], Encoded]],
    n_items: int,
    n_rows: int,
    space: Space,
    cut: int | None = None,
) -> Encoded:
    """Join the results of batches, each with the places of its items, in the order of the items.

    ``space`` is that of uncut rows, of which ``cut`` dimensions are kept.

    Raises:
        ModelError: the tower belongs to a different space.
    """
    for _, encoded in parts:
        if encoded.rows.shape[-1] != space.embed_dim:
            raise ModelError(
                f"A tower returned rows of {encoded.rows.shape[-1]} numbers, but the space has "
                f"{space.embed_dim} dimensions.",
                remedy="Join it to the space with `anymodal models bind`.",
            )
    order = np.argsort([index for places, _ in parts for index in places])
    by_item = [(places, batch.rows.reshape(len(places), n_rows, -1)) for places, batch in parts]
    whole = scatter(by_item, n_items, n_rows, space.embed_dim)
    rows = whole if cut is None else l2_normalize(whole[..., :cut])
    stats = TextStats.join([encoded.stats for _, encoded in parts])
    return Encoded(rows, stats.take(order) if stats else None)


def prepare_all(tower: PluginTower, contents: Sequence[Any]) -> list[Prepared]:
    """Prepare items in parallel, but short texts one after the other.

    Threads take longer to start than short texts take to prepare: in a server whose threads all
    compete for the interpreter, each start waits for milliseconds.
    """
    if len(contents) == 1 or _is_short(contents):
        return [tower.prepare(content) for content in contents]
    with ThreadPoolExecutor(_PREPARE_THREADS) as threads:
        return list(threads.map(tower.prepare, contents))


def _is_short(contents: Sequence[Any]) -> bool:
    """Whether these are texts of a few thousand characters in all."""
    texts = [content for content in contents if isinstance(content, str)]
    return len(texts) == len(contents) and sum(map(len, texts)) <= _SHORT_CHARS


class Dispatch:
    """Encodes items by the towers of a model, and of plug-ins. Safe to use from threads."""

    def __init__(
        self, model: Model, config: EncoderConfig, observer: EncoderObserver | None = None
    ) -> None:
        self._model = model
        self._config = config
        self._observer = observer
        self.space: Space = replace(model.kept, asymmetric=_asymmetric(model))
        self._plugins: dict[tuple[Modality, Role], PluginTower] = {}
        self._lock = Lock()

    @property
    def modalities(self) -> frozenset[Modality]:
        """What can be encoded; video needs the image or the audio tower."""
        modalities = {*self._model.towers, *registered_modalities()}
        return frozenset(modalities | {VIDEO} if modalities & {IMAGE, AUDIO} else modalities)

    def tower(self, modality: Modality, role: Role = DOCUMENT) -> PluginTower:
        """The tower of a modality; that of a plug-in is made on first use.

        Raises an InputError if neither the model nor a plug-in has one.
        """
        towers = self._model.queries if role == QUERY else self._model.towers
        if tower := towers.get(modality) or self._plugins.get((modality, role)):
            return tower
        factory = registered_modalities(role).get(modality)
        if factory is None:
            raise InputError(
                str(modality),
                got="a modality that this model has no tower for",
                wanted=", ".join(sorted(self.modalities)),
            )
        with self._lock:
            return self._plugins.setdefault((modality, role), factory(self._model))

    def first_rows(self, items: Sequence[Item]) -> Embeddings:
        """The first row of each item, [len(items), embed_dim]."""
        return self.first_of(self.encode(items), len(items))

    def first_of(self, kinds: Sequence[tuple[list[int], Encoded]], n_items: int) -> Embeddings:
        """The first row of each item, from what `encode` returned for them."""
        parts = [(places, encoded.rows[:, :1]) for places, encoded in kinds]
        return scatter(parts, n_items, 1, self.space.embed_dim)[:, 0]

    def encode(self, items: Sequence[Item]) -> list[tuple[list[int], Encoded]]:
        """By modality and role: the items' places, and their rows [n, n_rows, embed_dim]."""
        indices: dict[tuple[Modality, Role], list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            indices[item.modality, self.space.role_of(item)].append(index)
        jobs = [
            partial(self._encode_modality, *modality_and_role, [items[i].content for i in places])
            for modality_and_role, places in indices.items()
        ]
        in_parallel = self._model.side_by_side and (self._config.n_threads or os.cpu_count()) != 1
        encoded = all_at_once(jobs) if len(jobs) > 1 and in_parallel else map(call, jobs)
        return list(zip(indices.values(), encoded, strict=True))

    def _encode_modality(self, modality: Modality, role: Role, contents: Sequence[Any]) -> Encoded:
        if modality == VIDEO and VIDEO not in self._model.towers:
            rows = [self._encode_video(content, role)[None] for content in contents]
            return Encoded(np.stack(rows))
        tower = loaded(self.tower(modality, role))
        prepared = prepare_all(tower, contents)
        lengths = [len(p) for p in prepared]
        batches = bucket_by_length(
            lengths,
            max_items=self._config.batch_items,
            max_tokens=self._config.batch_tokens,
        )
        parts = []
        for places in batches:
            encoded = forward(tower, [prepared[i] for i in places])
            parts.append((places, encoded))
            of_batch = [lengths[i] for i in places]
            n_kept = encoded.stats.n_kept if encoded.stats else sum(of_batch)
            if self._observer:
                self._observer.encoded(modality, of_batch, n_kept)
            if modality == TEXT and (meter := current_meter()):
                meter.read(sum(of_batch), n_kept)
        return joined(parts, len(contents), n_rows_of(tower), self._model.space, self._model.cut)

    def _encode_video(self, content: Any, role: Role) -> Embeddings:
        items = film_items(content, self._config.video_frames, role)
        usable = [item for item in items if item.modality in self._model.towers]
        embeddings = self.first_rows(usable)
        is_frame = np.array([item.modality == IMAGE for item in usable], bool)
        return pool_film(embeddings[is_frame], embeddings[~is_frame])


def _asymmetric(model: Model) -> frozenset[Modality]:
    """The modalities with a separate tower for queries, and video where it is pooled from them."""
    # A plug-in's tower that was bound is a tower of the model, for queries too.
    modalities = frozenset(
        {*model.queries, *(registered_modalities(QUERY).keys() - model.towers.keys())}
    )
    pooled = VIDEO not in model.towers and modalities & {IMAGE, AUDIO}
    return modalities | {VIDEO} if pooled else modalities
