"""From the terms of a query to their embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

from encoder.space import Space, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Item, Modality
from search.deadline import StageProgress
from search.errors import NotFoundError
from search.query.query import Term
from search.store.base import VectorStore

T = TypeVar("T")
_CHARS_AT_ONCE = 8000
"""What is encoded before looking whether anybody waits: about 2,000 tokens, a second of one core.
"""
_MEDIUM_CHARS = 2000
"""What a picture or sound counts as."""


class ItemEncoder(Protocol):
    """Encodes queries, as a lane of `encoder.MultiModalEncoder` does."""

    @property
    def model(self) -> str:
        """What people call it."""

    @property
    def modalities(self) -> frozenset[Modality]:
        """The kinds of item that it takes."""

    @property
    def space(self) -> Space:
        """The space of the store's embeddings."""

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        """Mixed items to unit rows [len(items), embed_dim], in their order."""


def embed_terms(
    terms: Sequence[Term],
    encoder: ItemEncoder,
    store: VectorStore,
    space: str,
    progress: StageProgress,
) -> tuple[Embeddings, bool]:
    """Unit rows [len(terms), embed_dim], and whether any may be of a text, or of words said.

    The stages are ``encode_<modality>``. ``space`` is the encoder's, by its name in the store.

    An item is encoded in the role of its term; for a stored asset, its stored vectors are used. A
    picture that seems to lie on its side is turned if that finds a nearer one (`Space.sideways`).
    """
    own_space = encoder.space
    rows = np.empty((len(terms), own_space.embed_dim), np.float32)
    modalities = dict.fromkeys(term.item.modality for term in terms if term.item)
    has_text = TEXT in modalities or AUDIO in modalities
    for modality in modalities:
        chosen = [
            (index, Item(modality, term.item.content, term.role))
            for index, term in enumerate(terms)
            if term.item and term.item.modality == modality
        ]
        with progress.stage(f"encode_{modality}"):
            for piece in in_pieces(chosen, _length, _CHARS_AT_ONCE):
                progress.deadline.check()
                rows[[index for index, _ in piece]] = encoder.encode_items([i for _, i in piece])
        sideways = own_space.sideways
        if sideways and modality == IMAGE and store.lanes.has(space, IMAGE):
            for index, item in chosen:
                if sideways.holds(rows[index]):
                    rows[index] = _upright(item, rows[index], encoder, store, progress)
    asset_ids = {index: term.asset_id for index, term in enumerate(terms) if term.asset_id}
    if asset_ids:
        with progress.stage("encode_asset"):
            stored = store.assets(list(asset_ids.values()))
            for index, asset_id in asset_ids.items():
                rows[index] = _embedding_of(asset_id, asset_id in stored, store, space)
        has_text |= any(asset.modality == TEXT for asset in stored.values())
    return rows, has_text


def _upright(
    item: Item,
    row: Embeddings,
    encoder: ItemEncoder,
    store: VectorStore,
    progress: StageProgress,
) -> Embeddings:
    """The row [embed_dim] of a picture, or of it turned by a quarter if that finds a nearer one."""
    turns = [np.ascontiguousarray(np.rot90(item.content, quarters)) for quarters in (1, 3)]
    with progress.stage(f"encode_{IMAGE}"):
        turned = encoder.encode_items([Item(IMAGE, content, item.role) for content in turns])
    rows = np.stack([row, *turned])
    with progress.stage("search"):
        nearest = store.search(rows, [IMAGE], 1)
    cosines = [segments[0].cosine if segments else -1.0 for segments in nearest]
    return np.asarray(rows[int(np.argmax(cosines))])


def _length(chosen: tuple[int, Item]) -> int:
    content = chosen[1].content
    return len(content) if isinstance(content, str) else _MEDIUM_CHARS


def in_pieces(values: Iterable[T], length: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Runs of neighbours whose lengths add up to ``most``, or single ones that are longer.

    >>> list(in_pieces(["ab", "c", "defg", "h"], len, 3))
    [['ab', 'c'], ['defg'], ['h']]
    """
    piece: list[T] = []
    total = 0
    for value in values:
        if piece and total + length(value) > most:
            yield piece
            piece, total = [], 0
        piece.append(value)
        total += length(value)
    if piece:
        yield piece


def _embedding_of(asset_id: str, is_known: bool, store: VectorStore, space: str) -> Embeddings:
    """One unit row [embed_dim] for a whole asset: what its modalities have in common.

    The mean of each modality's rows, scaled to unit length, counts once, as when a film is
    encoded: a minute of film has more windows of sound than frames, or the other way round. Of
    segments with several rows, the first counts, as when one is encoded for a search.
    """
    rows = store.embeddings(asset_id) if is_known else []
    segments = [row for row in rows if store.lanes.has(space, row.modality)]
    if not segments:
        raise NotFoundError(f"The asset {asset_id!r} is not stored.", remedy="Use the id of a hit.")
    firsts = [segment for segment in segments if not segment.row]
    modalities = dict.fromkeys(segment.modality for segment in firsts)
    means = [
        np.mean([segment.embedding for segment in firsts if segment.modality == modality], axis=0)
        for modality in modalities
    ]
    return l2_normalize(np.sum(l2_normalize(np.stack(means)), axis=0))
