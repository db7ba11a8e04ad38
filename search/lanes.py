"""Lanes: the space in which the segments of a modality live, and what encodes queries for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from encoder.errors import InputError
from encoder.space import Space
from encoder.types import Embeddings, Modality
from search.query.query import Term
from search.query.terms import ItemEncoder
from search.store.base import VectorStore
from search.store.calibrated import StoredCalibration
from search.store.laned import LanedStore

T = TypeVar("T")


class Lane:
    """A model, and a store of its embeddings. Safe to use from threads.

    Args:
        encoder: of queries.
        store: of the segments of some modalities, or of all.
    """

    def __init__(self, encoder: ItemEncoder, store: VectorStore) -> None:
        self.encoder, self.store = encoder, store
        self._scored_by: tuple[StoredCalibration | None, Space | None, Space]
        self._scored_by = (None, None, encoder.space)

    def space(self) -> Space:
        """The model's space with the calibration of the store, if the store has one."""
        state, space = self.store.scoring, self.encoder.space
        if state is not self._scored_by[0] or space is not self._scored_by[1]:
            self._scored_by = (state, space, _with_scoring(state, space))
        return self._scored_by[2]

    def takes(self, terms: Sequence[Term]) -> bool:
        """Whether the model can encode each of these."""
        return all(not term.item or term.item.modality in self.encoder.modalities for term in terms)


def _with_scoring(state: StoredCalibration, space: Space) -> Space:
    state = state.renewed(space.calibration)
    stored = state.reading
    if not stored or stored == space.calibration:
        return replace(space, floors=state.floors or space.floors)
    # The model's own floors apply where its shipped calibration is used, or blended.
    shipped = dict(space.calibration.items() & stored.items())
    near = stored if "reading" in state.about else shipped
    floors = {modality: floor for modality, floor in space.floors.items() if modality in near}
    return replace(space, calibration=stored, floors={**floors, **state.floors})


@dataclass(frozen=True, eq=False)
class Lanes:
    """The lanes of a library.

    Args:
        home: of texts, and of all modalities that have no other.
        others: by modality.
    """

    home: Lane
    others: Mapping[Modality, Lane]

    @classmethod
    def of(
        cls, encoder: ItemEncoder, store: VectorStore, others: Mapping[Modality, ItemEncoder]
    ) -> Lanes:
        """The lanes of a store: the home lane's encoder, and those of other lanes by modality."""
        if not isinstance(store, LanedStore):
            return cls(Lane(encoder, store), {})
        lanes = {id(other): Lane(other, store.of(modality)) for modality, other in others.items()}
        return cls(
            Lane(encoder, store.home),
            {modality: lanes[id(other)] for modality, other in others.items()},
        )

    def lane(self, modality: Modality) -> Lane:
        return self.others.get(modality, self.home)

    def space(self, spaces: Mapping[Modality, Space] | None = None) -> Space:
        """The home lane's space with the constants of all modalities, each from its own lane.

        Args:
            spaces: of some modalities, as they were a moment ago; of others, it is the current one.
        """
        spaces = spaces or {}
        at_home = (space for modality, space in spaces.items() if modality not in self.others)
        home = next(at_home, None) or self.home.space()
        if not self.others:
            return home
        calibration, floors = dict(home.calibration), dict(home.floors)
        for modality, lane in self.others.items():
            space = spaces.get(modality) or lane.space()
            _set(calibration, modality, space.calibration)
            _set(floors, modality, space.floors)
        return replace(home, calibration=calibration, floors=floors)

    def taking(
        self, terms: Sequence[Term], modalities: Collection[Modality]
    ) -> dict[Modality, Lane]:
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


def _set(of_all: dict[Modality, T], modality: Modality, of_lane: Mapping[Modality, T]) -> None:
    of_all.pop(modality, None)
    if modality in of_lane:
        of_all[modality] = of_lane[modality]
