"""Lanes: the space in which the segments of a modality live, and what encodes queries for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np

from encoder.errors import InputError
from encoder.space import Space
from encoder.types import TEXT, Embeddings, Modality
from search.filters import Filter
from search.query.query import Term
from search.query.terms import ItemEncoder
from search.ranking.verdict import ForeignScores
from search.store.base import VectorStore
from search.store.calibrated import StoredCalibration

_SIZES_S = 60.0


@runtime_checkable
class MeasuresSpace(Protocol):
    """An encoder that measures what its model does not ship of its space."""

    def measured_space(self) -> Space:
        """The space with a bank and constants."""


class SearchedLane:
    """A model, and what a store knows of its space. Safe to use from threads.

    Args:
        encoder: of queries.
        store: of the segments of all lanes.
        space: its name in the store; that of the home lane by default.
    """

    def __init__(self, encoder: ItemEncoder, store: VectorStore, space: str = "") -> None:
        self.encoder, self.store = encoder, store
        self.name = space or store.lanes.home.fingerprint
        self._scored_by: tuple[StoredCalibration | None, Space | None, Space]
        self._scored_by = (None, None, encoder.space)
        # Asked for once: whether it is of a protocol costs as much as the judgement of a hit.
        measures = encoder.measured_space if isinstance(encoder, MeasuresSpace) else None
        self._measured: Callable[[], Space] = measures or partial(getattr, encoder, "space")
        self._foreign: tuple[Space, ForeignScores] | None = None

    def space(self) -> Space:
        """The model's space with the calibration of the store, if the store has one.

        What a model does not ship of it is measured at first.
        """
        state, space = self.store.calibrations.scoring(self.name), self._measured()
        if state is not self._scored_by[0] or space is not self._scored_by[1]:
            self._scored_by = (state, space, _with_scoring(state, space))
        return self._scored_by[2]

    def foreign(self, space: Space) -> ForeignScores | None:
        """What chance gives in this lane, whose `space` this is; None if it has no bank."""
        if space.bank is None:
            return None
        known = self._foreign
        if known is None or known[0] is not space:
            # A store knows the level of its media better than a bank that was drawn.
            shipped = self.encoder.space.calibration
            own = {TEXT: self._measured().calibration_of(TEXT), **shipped}
            fixed = replace(space, calibration={**space.calibration, **own})
            known = self._foreign = (space, ForeignScores(space.bank, fixed, shipped))
        return known[1]

    def takes(self, terms: Sequence[Term]) -> bool:
        """Whether the model can encode each of these."""
        return all(not term.item or term.item.modality in self.encoder.modalities for term in terms)


def _with_scoring(state: StoredCalibration, space: Space) -> Space:
    stored = state.renewed(space.calibration).constants
    return replace(space, calibration={**space.calibration, **stored}) if stored else space


@dataclass(frozen=True, eq=False)
class Lanes:
    """The lanes of a library.

    Args:
        home: of texts, and of all modalities that have no other.
        others: by modality.
    """

    home: SearchedLane
    others: Mapping[Modality, SearchedLane]

    @classmethod
    def of(
        cls, encoder: ItemEncoder, store: VectorStore, others: Mapping[Modality, ItemEncoder]
    ) -> Lanes:
        """The lanes of a store: the home lane's encoder, and those of other lanes by modality."""
        unique = {
            id(other): SearchedLane(other, store, store.lanes.space(modality).fingerprint)
            for modality, other in others.items()
        }
        lanes = {modality: unique[id(other)] for modality, other in others.items()}
        return cls(SearchedLane(encoder, store), lanes)

    def lane(self, modality: Modality) -> SearchedLane:
        return self.others.get(modality, self.home)

    def space(self, spaces: Mapping[Modality, Space] | None = None) -> Space:
        """The home lane's space with the constants of all modalities, each from its own lane.

        Args:
            spaces: of some modalities, as they were a moment ago; of others, it is the current one.
        """
        spaces = spaces or {}
        home = next((space for m, space in spaces.items() if m not in self.others), None)
        if home is None:  # what is not searched is not measured: its model may be away
            home = self.home.encoder.space if spaces else self.home.space()
        if not self.others:
            return home
        calibration = dict(home.calibration)
        for modality, lane in self.others.items():
            calibration.pop(modality, None)
            unasked = lane.encoder.space if spaces else lane.space()
            constants = spaces.get(modality, unasked).calibration
            if modality in constants:
                calibration[modality] = constants[modality]
        return replace(home, calibration=calibration)

    def taking(
        self, terms: Sequence[Term], modalities: Collection[Modality]
    ) -> dict[Modality, SearchedLane]:
        """The lanes of these modalities whose models take all terms.

        Raises:
            InputError: none does.
        """
        lanes = {modality: self.lane(modality) for modality in modalities}
        if not self.others:
            return lanes
        taking = {modality: lane for modality, lane in lanes.items() if lane.takes(terms)}
        if not taking:
            names = ", ".join(sorted({lane.encoder.model for lane in lanes.values()}))
            raise InputError(
                "query.items",
                got=", ".join(sorted({str(term.item.modality) for term in terms if term.item})),
                wanted=f"items that one of {names} takes",
            )
        return taking

    def joined(self, modalities: Sequence[Modality], rows: Sequence[Embeddings]) -> Embeddings:
        """Rows of these modalities as one array [len(rows), d]; those of two lanes are orthogonal.

        Vectors of two spaces are not comparable, so nothing is alike across lanes.
        """
        if not self.others:
            return np.stack(rows)
        lanes = [self.lane(modality) for modality in modalities]
        starts: dict[int, int] = {}
        n_dims = 0
        for lane in lanes:
            if id(lane) not in starts:
                starts[id(lane)] = n_dims
                n_dims += lane.encoder.space.embed_dim
        joined = np.zeros((len(rows), n_dims), np.float32)
        for row, lane, vector in zip(joined, lanes, rows, strict=True):
            row[starts[id(lane)] : starts[id(lane)] + len(vector)] = vector
        return joined


class Sizes:
    """The sizes of a store as it grows. Safe to use from threads."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._sizes: Mapping[Modality, int] = {}
        self._look_at_s = 0.0

    def among(self, filter: Filter | None, modalities: Collection[Modality]) -> float:
        """How many segments of these modalities pass a filter, about."""
        now_s = time.monotonic()
        if now_s >= self._look_at_s:
            self._sizes = self._store.sizes()
            self._look_at_s = now_s + _SIZES_S
        n_segments = sum(self._sizes.get(modality, 0) for modality in modalities)
        if filter is None:
            return n_segments
        return n_segments * self._store.count(filter) / max(self._store.count(), 1)
