"""Items of several modalities to rows: the tower of each, and batches of similar length."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import call
from threading import Lock
from typing import Any

import numpy as np

from encoder.batching import bucket_by_length, joined, prepare_all, scatter
from encoder.config import EncoderConfig
from encoder.errors import InputError
from encoder.observer import EncoderObserver
from encoder.registry import registered_modalities
from encoder.runtime.side_by_side import all_at_once
from encoder.space import Space
from encoder.towers import video as video_tower
from encoder.towers.base import PluginTower, forward, n_rows_of
from encoder.towers.encoded import Encoded
from encoder.towers.lazy import loaded
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


class Dispatch:
    """Encodes items by the towers of a model, and of plug-ins. Safe to use from threads.

    Args:
        model: its towers load on first use.
        config: the sizes of batches, the threads, and how many frames of a video are encoded.
        observer: called for each batch.
    """

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

        Raises:
            InputError: neither the model nor a plug-in has one.
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

    def encode(
        self, items: Sequence[Item], *, counted: bool = False
    ) -> list[tuple[list[int], Encoded]]:
        """By modality and role: the items' places, and their rows [n, n_rows, embed_dim]."""
        indices: dict[tuple[Modality, Role], list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            indices[item.modality, self.space.role_of(item)].append(index)
        jobs = [
            partial(
                self._encode_modality,
                *modality_and_role,
                [items[i].content for i in places],
                counted,
            )
            for modality_and_role, places in indices.items()
        ]
        in_parallel = self._model.side_by_side and (self._config.n_threads or os.cpu_count()) != 1
        encoded = all_at_once(jobs) if len(jobs) > 1 and in_parallel else map(call, jobs)
        return list(zip(indices.values(), encoded, strict=True))

    def _encode_modality(
        self, modality: Modality, role: Role, contents: Sequence[Any], counted: bool
    ) -> Encoded:
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
            batch = [prepared[i] for i in places]
            parts.append((places, forward(tower, batch, counted=counted and modality == TEXT)))
            if self._observer:
                self._observer.encoded(modality, [lengths[i] for i in places])
        return joined(parts, len(contents), n_rows_of(tower), self._model.space, self._model.cut)

    def _encode_video(self, content: Any, role: Role) -> Embeddings:
        items = video_tower.parts(content, self._config.video_frames, role)
        usable = [item for item in items if item.modality in self._model.towers]
        embeddings = self.first_rows(usable)
        is_frame = np.array([item.modality == IMAGE for item in usable], bool)
        return video_tower.pool(embeddings[is_frame], embeddings[~is_frame])


def _asymmetric(model: Model) -> frozenset[Modality]:
    """The modalities with a separate tower for queries, and video where it is pooled from them."""
    # A plug-in's tower that was bound is a tower of the model, for queries too.
    modalities = frozenset(
        {*model.queries, *(registered_modalities(QUERY).keys() - model.towers.keys())}
    )
    pooled = VIDEO not in model.towers and modalities & {IMAGE, AUDIO}
    return modalities | {VIDEO} if pooled else modalities
