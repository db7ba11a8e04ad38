"""The shared embedding space: its identity, its size and its calibration."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from encoder.types import DOCUMENT, TEXT, Embeddings, Item, Modality, Role

Cosines = TypeVar("Cosines", float, NDArray[np.float64])


@dataclass(frozen=True)
class Calibration:
    """Where the cosines of one target modality lie: a typical level and a scale.

    Cosines of different modalities are not comparable (the modality gap), so a mixed
    ranking compares ``(cosine - mu) / c``.

    Args:
        mu: the level.
        c: the scale.
        further: the same for an item's further rows, where it has several (`Tower.n_rows`).
        share: of texts: they hold for queries of which this share is taken off by the space's
            `Centring`.
    """

    mu: float = 0.0
    c: float = 1.0
    further: tuple[Calibration, ...] = ()
    share: float = 0.0

    @property
    def rows(self) -> tuple[Calibration, ...]:
        """By the numbers of rows."""
        return self, *self.further

    def of_row(self, row: int) -> Calibration:
        """The calibration of the items' rows with this number, or of the last one that is known."""
        return self.further[min(row, len(self.further)) - 1] if row and self.further else self

    def apply(self, cosines: Cosines, level: Cosines | float = 1.0) -> Cosines:
        """Calibrate a cosine, or an array of any shape, which is kept; see `Space.asked`."""
        return (cosines - level * self.mu) / self.c


UNCALIBRATED = Calibration()
"""Leaves cosines as they are."""


@dataclass(frozen=True, eq=False)
class Centring:
    """Takes off a query q what it has in common with any text in a language, whatever that says.

    Most of the cosine of q to a text v in a language l is ``q·m_l``, m_l being the mean of the
    texts in l: a question in one language ranks all texts in it before an answer in another. Of
    ``m_l = o + d_l``, o is the mean of all languages. Linear regression tells l from v itself:
    ``w_l·v`` is about 1 for texts in l, and 0 for others. So ``q·v - share * q·d_l`` is
    ``(q - share * Σ (q·d_l) w_l)·v``: it is the query that moves, and rows stay as they are.
    ``q·o`` is the same for all texts, and moves their level instead: see `Space.asked`.

    Args:
        deviations: d, [n_languages, embed_dim].
        weights: w, likewise.
        common: o, divided by ``q·o`` of a typical query that was moved, [embed_dim].
    """

    deviations: Embeddings
    weights: Embeddings
    common: Embeddings

    def centred(self, queries: Embeddings, share: float) -> Embeddings:
        """From rows [..., embed_dim] to those that are compared with stored rows."""
        shared = (queries @ self.deviations.T) @ self.weights
        return np.asarray(queries - share * shared, np.float32)


@dataclass(frozen=True)
class Floor:
    """The score that the best segment of a modality can reach by chance.

    The best of more segments scores higher, so the floor rises with their number. It is lower the
    more a query looks like one that means something: see `encoder.calibration.floors`.

    Args:
        level: the calibrated score that the best of ``n`` segments stays below for 97 of
            100 queries that mean nothing, and for 90 among texts.
        slope: how much it rises where there are e times as many.
        n: the number of segments that ``level`` is for.
        tilt: [embed_dim]; the floor of a query is lowered by the inner product of its embedding
            with this, less ``middle``; if empty, it is not.
        middle: the inner product of a typical query, which ``level`` is for.
    """

    level: float
    slope: float
    n: int
    tilt: tuple[float, ...] = ()
    middle: float = 0.0

    def among(self, n_segments: int, query: Embeddings | None = None) -> float:
        """The floor for that many segments, for a query's unit vector [embed_dim] or a typical one.

        >>> round(Floor(3.0, 0.2, 1000).among(1_000_000), 2)
        4.38
        >>> Floor(3.0, 0.0, 1, (0.5, 0.0), 0.25).among(9, np.array([1.0, 0.0]))
        2.75
        """
        level = self.level + self.slope * math.log(max(n_segments, 1) / self.n)
        if query is None or not self.tilt:
            return level
        return level - float(np.dot(query, self.tilt)) + self.middle


@dataclass(frozen=True)
class Odds:
    """From a score above its floor to the probability that the match answers the query.

    Args:
        steepness: of the logistic, for a score in calibrated units.
        middle: how far above the floor a match answers in one of two cases.
        least: the probability below which a match is weak; by default, that at the floor.
    """

    steepness: float = 1.0
    middle: float = 3.0
    least: float = 1 / (1 + math.exp(3.0))

    def of(self, above_floor: float) -> float:
        """The probability.

        >>> round(Odds().of(0.0), 2), Odds().of(3.0)
        (0.05, 0.5)
        """
        return 1 / (1 + math.exp(-self.steepness * (above_floor - self.middle)))


@dataclass(frozen=True, eq=False)
class Sideways:
    """Tells pictures that lie on their side from others, by their embedding.

    Args:
        direction: float32 [embed_dim].
        limit: what 3 of 100 upright photographs exceed along it.
    """

    direction: NDArray[np.float32]
    limit: float

    def holds(self, row: Embeddings) -> bool:
        """Whether the picture with this embedding [embed_dim] may lie on its side."""
        return float(row @ self.direction) > self.limit


USUAL_ODDS = Odds()
"""For models that ship none."""


@dataclass(frozen=True)
class Space:
    """A shared space.

    Args:
        embed_dim: the number of dimensions of an embedding.
        identity: everything that changes a vector (model ids, hashes, quantization, DSRE).
        identities: by target modality, 16 hex digits of what changes its rows alone, if that may
            change within the space: rows of several versions lie side by side, and a store notes
            which of its assets have which.
        calibration: constants per target modality; a missing one is not calibrated.
        floors: per target modality, the score below which a match is weak; without one, none is.
        odds: how scores above the floors become probabilities.
        asymmetric: modalities whose queries are encoded differently from documents. Like the
            queries' prompts, not part of the identity: no stored vector changes with them.
        centring: for queries that are texts, if the calibration of texts asks for it.
        sideways: for queries that are pictures.
        probes: vectors of fixed inputs, as `encoder.models.probes` writes them, if the weights are
            not here: no part of the identity, but a store refuses others than it noted.
        gates: that are in the identity of stores filled with them, as ``dsre``; see `names`.
        known_as: what a store calls it, see `among`.
    """

    embed_dim: int
    identity: Mapping[str, str]
    calibration: Mapping[Modality, Calibration] = field(default_factory=dict)
    asymmetric: frozenset[Modality] = frozenset()
    floors: Mapping[Modality, Floor] = field(default_factory=dict)
    odds: Odds = USUAL_ODDS
    centring: Centring | None = None
    sideways: Sideways | None = None
    probes: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    known_as: str = ""
    identities: Mapping[Modality, str] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits, which name the space."""
        return self.known_as or self._fingerprint(self.identity)

    def _fingerprint(self, identity: Mapping[str, str]) -> str:
        facts = json.dumps([self.embed_dim, sorted(identity.items())])
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    @cached_property
    def names(self) -> frozenset[str]:
        """All fingerprints whose vectors may be compared: with merged tokens, and without.

        Merging moves a vector by less than a search shows, so it does not make another space. But
        stores of earlier versions are named after the gate that filled them.
        """
        merged = (self._fingerprint({**self.identity, "dsre": gate}) for gate in self.gates)
        return frozenset({self._fingerprint(self.identity), *merged})

    def among(self, stored: Collection[str]) -> Space:
        """The space as stores call it that have these; as it is called now if none has it."""
        known = self.names.intersection(stored)
        if self.known_as or self.fingerprint in known or not known:
            return self
        return replace(self, known_as=min(known))

    def role_of(self, item: Item) -> Role:
        """The role in which to encode an item: "document" if a query would give the same vector."""
        return item.role if item.modality in self.asymmetric else DOCUMENT

    def calibration_of(self, modality: Modality) -> Calibration:
        return self.calibration.get(modality, UNCALIBRATED)

    @property
    def share(self) -> float:
        """How much of its `centring` the calibration is for."""
        return self.calibration_of(TEXT).share if self.centring else 0.0

    def asked(
        self, texts: Embeddings, weight: float = 1.0
    ) -> tuple[Embeddings, NDArray[np.float64]]:
        """Queries that are texts, as they are compared with stored rows, and their levels.

        A level is what the constants' is multiplied by for a query: about ``weight``, which is that
        of all its terms.

        Args:
            texts: [..., embed_dim].
            weight: of each of them.

        Returns:
            Rows [..., embed_dim], and levels [...] for `Calibration.apply`.
        """
        levels = np.full(texts.shape[:-1], weight)
        if not self.centring or not self.share:
            return texts, levels
        moved = self.centring.centred(texts, self.share)
        return moved, levels + self.share * (moved @ self.centring.common - weight)


def space_of_gate(embed_dim: int, identity: Mapping[str, str]) -> Space:
    """The space of an identity, in which ``dsre`` is the gate, if there is one."""
    dense = {name: value for name, value in identity.items() if name != "dsre"}
    return Space(embed_dim, dense, gates=tuple(identity[name] for name in identity.keys() - dense))


def l2_normalize(vectors: NDArray[np.floating]) -> Embeddings:
    """Scale rows [n, d] to unit length; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)
