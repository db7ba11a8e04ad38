"""The embeddings of one call, by modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from encoder.errors import InputError
from encoder.space import l2_normalize
from encoder.towers.encoded import TextStats
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Embeddings, Modality, Utterance


class EncodedItem(NamedTuple):
    """An item's float32 unit rows [n_rows, embed_dim], and what is said in it.

    ``heard`` has the spans in which somebody speaks; it is None for items that are not sounds, and
    for models that do not recognise speech.
    """

    rows: Embeddings
    heard: Sequence[Utterance] | None


@dataclass(frozen=True, eq=False)
class MultiModalEmbeddings:
    """What `MultiModalEncoder.encode_multimodal` returns.

    Each embedding is float32 and of unit length: [embed_dim] for one value, [n, embed_dim] for a
    list. A modality that was not passed is None. Where a model makes several rows for an item, its
    embedding is the first of them; `MultiModalEncoder.encode_rows` returns all.
    """

    by_modality: Mapping[Modality, Embeddings]
    stats: TextStats | None = None
    """With ``return_stats=True``, what the gate did to each text of ``text=``: the tokens that went
    in, those kept in each layer, FLOPs, and the gate's time. None if the model has no gate, and for
    queries with their own prompt, which run without it."""

    @property
    def text(self) -> Embeddings | None:
        """The embeddings of ``text=``."""
        return self.by_modality.get(TEXT)

    @property
    def image(self) -> Embeddings | None:
        """The embeddings of ``image=``."""
        return self.by_modality.get(IMAGE)

    @property
    def audio(self) -> Embeddings | None:
        """The embeddings of ``audio=``."""
        return self.by_modality.get(AUDIO)

    @property
    def video(self) -> Embeddings | None:
        """The embeddings of ``video=``."""
        return self.by_modality.get(VIDEO)

    def __getitem__(self, modality: str) -> Embeddings:
        """The embeddings of any modality, including registered ones."""
        return self.by_modality[Modality(modality)]

    @cached_property
    def fused(self) -> Embeddings:
        """One embedding for all modalities: the normalised sum, row by row.

        A single value is joined to every row of a list.

        Raises:
            InputError: lists of different lengths were passed.
        """
        lengths = {m: len(e) for m, e in self.by_modality.items() if e.ndim == 2}
        if len(set(lengths.values())) > 1:
            raise InputError(
                "fused",
                got="lists of different lengths: "
                + ", ".join(f"{m} {n}" for m, n in lengths.items()),
                wanted="lists of one length, or single values",
            )
        return l2_normalize(np.sum(np.broadcast_arrays(*self.by_modality.values()), axis=0))
