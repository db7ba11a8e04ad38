"""The shared embedding space: its identity, its size and its calibration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
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


_LEVEL, _HUB = 1.3, 0.5
"""How much of a question's level is due to chance, and of a row's."""
_USUAL_SPREAD = 0.29
"""Of levels, in a space that knows the languages of the bank: where levels say which language a
question is in, they differ more and mean less."""


@dataclass(frozen=True, eq=False)
class Bank:
    """How questions and texts of nobody's library lie in a space.

    Args:
        foreign: the mean of foreign texts as they are stored, float32 [embed_dim].
        questions: the shipped queries as they are asked, float32 unit rows [n, embed_dim].
        naming: the direction [embed_dim] from queries that ask a question to those that name a
            thing: their means are 1 apart along it.
        middle: where half-way between them is along it.
        level: the mean score of a question on foreign texts, in calibrated units.
        spread: its deviation from question to question.
        nearest: the mean score of a foreign text on the ten questions that it is nearest to.
        best: what the best foreign text for a question stays below for seven questions of eight,
            less what `by_chance` takes off.
    """

    foreign: Embeddings
    questions: Embeddings
    naming: Embeddings
    middle: float
    level: float = 1.0
    spread: float = 0.0
    nearest: float = 3.0
    best: float = 0.0

    def by_chance(self, level: Cosines, nearest: Cosines) -> Cosines:
        """What chance adds to a score, beyond what is usual in the space.

        Args:
            level: the mean score of the question on foreign texts.
            nearest: the mean score of the row on the foreign questions that it is nearest to.
        """
        steepness = _LEVEL * min(1.0, _USUAL_SPREAD / max(self.spread, _USUAL_SPREAD))
        return steepness * (level - self.level) + _HUB * (nearest - self.nearest)


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


@dataclass(frozen=True)
class Space:
    """A shared space.

    Args:
        embed_dim: the number of dimensions of an embedding.
        identity: everything that changes a vector (model ids, hashes, quantization, DSRE).
        calibration: constants per target modality; a missing one is not calibrated.
        asymmetric: modalities whose queries are encoded differently from documents. Like the
            queries' prompts, not part of the identity: no stored vector changes with them.
        centring: for queries that are texts, if the calibration of texts asks for it.
        sideways: for queries that are pictures.
        bank: what chance looks like; None if it has to be measured.
        probes: vectors of fixed inputs, as `encoder.models.probes` writes them, if the weights are
            not here: no part of the identity, but a store refuses others than it noted.
    """

    embed_dim: int
    identity: Mapping[str, str]
    calibration: Mapping[Modality, Calibration] = field(default_factory=dict)
    asymmetric: frozenset[Modality] = frozenset()
    centring: Centring | None = None
    sideways: Sideways | None = None
    bank: Bank | None = field(default=None, compare=False)
    probes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits, which name the space."""
        facts = json.dumps([self.embed_dim, sorted(self.identity.items())])
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def role_of(self, item: Item) -> Role:
        """The role in which to encode an item: "document" if a query would give the same vector."""
        return item.role if item.modality in self.asymmetric else DOCUMENT

    def calibration_of(self, modality: Modality) -> Calibration:
        return self.calibration.get(modality, UNCALIBRATED)

    def score(
        self, modality: Modality, cosines: Cosines, *, row: int = 0, level: Cosines | float = 1.0
    ) -> Cosines:
        """Calibrate cosines to rows with this number of one modality; see `Calibration.apply`."""
        return self.calibration_of(modality).of_row(row).apply(cosines, level)

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
    """The space of an identity, in which ``dsre`` is the gate, if there is one.

    Merging tokens moves a vector by less than a search shows, so it makes no other space.
    """
    dense = {name: value for name, value in identity.items() if name != "dsre"}
    return Space(embed_dim, dense)


def l2_normalize(vectors: NDArray[np.floating]) -> Embeddings:
    """Scale rows [n, d] to unit length; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)
