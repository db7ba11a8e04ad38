"""The lanes of a store: which space holds the segments of each modality, and how many.

An asset has one commit row, and as many sets of segments as there are spaces that were filled. A
store is opened for some of these; that is all it searches, counts and writes. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

from encoder.space import Calibration, Space
from encoder.types import Modality
from search.errors import SpaceMismatchError, StoreMissingError
from search.types import AssetRow, SegmentRow

Counts: TypeAlias = Mapping[tuple[str, Modality], int]
"""How many segments of an asset were committed, by space and modality.

What is missing was never looked for; what is 0 was, and there is none."""


@dataclass(frozen=True)
class StoredSpace:
    """What a store keeps of a space, so that it opens without any model.

    Args:
        fingerprint: its name.
        embed_dim: the size of an embedding; 0 if the store knows it.
        calibration: the constants of a new store.
        probes: by which a model that runs elsewhere is recognised.
    """

    fingerprint: str
    embed_dim: int
    calibration: Mapping[Modality, Calibration] = field(default_factory=dict)
    probes: tuple[str, ...] = ()

    @classmethod
    def of(cls, space: Space) -> StoredSpace:
        return cls(space.fingerprint, space.embed_dim, space.calibration, tuple(space.probes))

    def as_noted(self, noted: tuple[int, Sequence[str]] | None, store_name: str) -> StoredSpace:
        """As large as a store notes; ``noted`` is the size and the probes, if it knows the space.

        Raises:
            StoreMissingError: nobody knows the size.
            SpaceMismatchError, ModelError: it is not the space that was noted by its name.
        """
        from encoder.models.probes import check_same

        if noted is None:
            if not self.embed_dim:
                raise StoreMissingError.at(store_name)
            return self
        embed_dim, probes = noted
        if self.embed_dim not in (0, embed_dim):
            raise SpaceMismatchError(
                f"The store {store_name} has embeddings of {embed_dim} numbers in this space, not "
                f"{self.embed_dim}.",
                remedy="Use the model that filled it, or another --store.",
            )
        if self.probes and probes:
            filled_by = f"the one that filled the store {store_name}"
            check_same("The model on the server", self.probes, probes, filled_by)
        return replace(self, embed_dim=embed_dim)


@dataclass(frozen=True)
class Filling:
    """What is filled beside the lanes that are searched.

    Args:
        modalities: those whose lanes are filled.
        unknown: those of them that no model of the searched lanes encodes, so that files alone tell
            who has any.
    """

    modalities: frozenset[Modality]
    unknown: frozenset[Modality] = frozenset()


def to_fill(
    stored: Mapping[str, AssetRow], assets: Sequence[AssetRow], segments: Sequence[SegmentRow]
) -> tuple[list[AssetRow], list[SegmentRow]]:
    """What lanes are filled with: segments of stored assets, whose rows change by counts alone."""
    stored_rows = [row for row in assets if row.asset_id in stored]
    counted = [replace(stored[row.asset_id], counts=row.counts) for row in stored_rows]
    return counted, [row for row in segments if row.asset_id in stored]


@dataclass(frozen=True)
class StoreLanes:
    """Which space holds the segments of each modality.

    Args:
        home: that of texts, and of all modalities that have no other.
        others: by modality.
        filling: if these lanes are filled while others are searched.
    """

    home: StoredSpace
    others: Mapping[Modality, StoredSpace] = field(default_factory=dict)
    filling: Filling | None = None

    @classmethod
    def of(cls, home: Space, others: Mapping[Modality, Space]) -> StoreLanes:
        return cls(StoredSpace.of(home), {m: StoredSpace.of(s) for m, s in others.items()})

    def space(self, modality: Modality) -> StoredSpace:
        return self.others.get(modality, self.home)

    @cached_property
    def spaces(self) -> dict[str, StoredSpace]:
        """By fingerprint, home first."""
        return {space.fingerprint: space for space in (self.home, *self.others.values())}

    def resolved(self, noted: Callable[[StoredSpace], StoredSpace]) -> StoreLanes:
        """The lanes with what a store notes of each space."""
        spaces = {name: noted(space) for name, space in self.spaces.items()}
        others = {modality: spaces[space.fingerprint] for modality, space in self.others.items()}
        return StoreLanes(spaces[self.home.fingerprint], others, self.filling)

    def has(self, space: str, modality: Modality) -> bool:
        """Whether a space is that of a modality."""
        return space == self.space(modality).fingerprint

    def counts(self, all_counts: Counts) -> dict[Modality, int]:
        """An asset's segments in these lanes; none if one of them still lacks some.

        A lane lacks segments of a modality if another one counts some, and it was never looked for
        any. What a modality has none of is left out. Of lanes that are filled, only whether they
        lack any is told: they have what any lane has, or nothing.
        """
        looked_for = {m for space, m in all_counts if self.has(space, m)}
        of_any = {modality: n for (_, modality), n in all_counts.items() if n}
        unknown = self.filling.unknown if self.filling else frozenset()
        if not looked_for >= of_any.keys() | unknown:
            return {}
        if self.filling:
            return of_any
        return {m: n for (space, m), n in all_counts.items() if n and self.has(space, m)}

    def changed(
        self, all_counts: Counts, counts: Mapping[Modality, int]
    ) -> dict[tuple[str, Modality], int]:
        """What an asset counts once it is committed with ``counts`` in these lanes.

        Without any segments it is to be read again. Other spaces keep what they count.
        """
        if self.filling:
            looked_for = {*self.filling.modalities}
        elif counts == self.counts(all_counts):
            return dict(all_counts)
        else:
            looked_for = {modality for _, modality in all_counts} | counts.keys()
        own_lanes = {(self.space(modality).fingerprint, modality) for modality in looked_for}
        other_counts = {lane: n for lane, n in all_counts.items() if lane not in own_lanes}
        if not (counts or self.filling):
            return other_counts
        return {**other_counts, **{lane: counts.get(lane[1], 0) for lane in own_lanes}}
