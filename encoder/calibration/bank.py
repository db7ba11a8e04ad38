"""What chance looks like in a space: foreign texts and questions, and pictures and sounds of none.

Bundles ship theirs. Of any other model it is measured when it is first searched with, and kept in
the cache of this machine, so that no lane lacks a level or constants.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol, TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from encoder.calibration.bank_media import pictures, sounds
from encoder.calibration.measure import (
    SampleQuery,
    constants_of,
    measure,
    rows_of,
    sample_queries,
    told_apart,
)
from encoder.space import Bank, Space
from encoder.system.cache import cache_folder, make_once
from encoder.types import AUDIO, IMAGE, QUERY, TEXT, Embeddings, Item, Modality

logger = logging.getLogger(__name__)

Rows: TypeAlias = "NDArray[np.float64]"

_FILE = Path(__file__).with_name("foreign_texts.tsv")
_SHRINKAGE = 0.9
N_NEAREST = 10
"""How many foreign questions say what a row scores by chance."""
_REACHED = 0.875
_SAME_COSINE = 0.999
"""A text that is encoded alone may differ by rounding from the same text in a batch."""
_LOCK_TIMEOUT_S = 60.0


class BankEncoder(Protocol):
    """What encodes a bank: a lane."""

    @property
    def space(self) -> Space: ...

    @property
    def modalities(self) -> Collection[Modality]: ...

    def encode_items(self, items: Sequence[Item]) -> Embeddings: ...


@dataclass(frozen=True)
class ForeignText:
    """A text that is in nobody's library in particular, in a language of ISO 639-1.

    ``topic`` is ``everyday``, ``work``, ``technology``, ``science``, ``law`` or ``leisure``: a
    topic that was missing would let its questions pass.
    """

    language: str
    topic: str
    text: str


@cache
def foreign_texts() -> Sequence[ForeignText]:
    """The shipped texts, as many of each topic in each of twelve languages."""
    return tuple(ForeignText(**row) for row in rows_of(_FILE))


def encoded_queries(encoder: BankEncoder) -> Embeddings:
    """The shipped queries as they are asked: unit rows [n, embed_dim]."""
    return encoder.encode_items([Item(TEXT, query.text, QUERY) for query in sample_queries()])


def encoded_texts(encoder: BankEncoder) -> Embeddings:
    """The foreign texts as they are stored: unit rows [n, embed_dim]."""
    return encoder.encode_items([Item(TEXT, foreign.text) for foreign in foreign_texts()])


def bank_of(texts: Embeddings, questions: Embeddings, space: Space) -> Bank:
    """The bank of a space; texts in languages that the model does not know are left out.

    Args:
        texts: of `encoded_texts`.
        questions: of `encoded_queries`.
        space: with the constants of texts.
    """
    queries, rows = told_apart(sample_queries(), questions)
    naming, middle = _naming(queries, rows)
    languages = {query.language for query in queries}
    is_known = np.array([foreign.language in languages for foreign in foreign_texts()])
    known_texts = texts[is_known] if is_known.any() else texts
    mean: Embeddings = known_texts.mean(axis=0)
    bank = Bank(mean, questions, naming, middle)
    asked, levels = space.asked(rows)
    by = space.calibration_of(TEXT)
    level = by.apply((asked @ mean).astype(np.float64), levels)
    scores = by.apply((asked @ known_texts.T).astype(np.float64), levels[:, None])
    nearest = np.sort(scores, axis=0)[-N_NEAREST:].mean(axis=0)
    bank = replace(
        bank,
        level=float(level.mean()),
        spread=float(level.std()),
        nearest=float(nearest.mean()),
    )
    above = scores - bank.by_chance(level[:, None], nearest[None])
    return replace(bank, best=float(np.quantile(above.max(axis=1), _REACHED)))


def _naming(queries: Sequence[SampleQuery], rows: Embeddings) -> tuple[Embeddings, float]:
    """The direction [embed_dim] from questions to captions, and its middle; means are 1 apart.

    The worse it separates the halves that it was not fitted to, the shorter it is: in many
    dimensions, any few rows differ from others.
    """
    forms = np.array([query.kind for query in queries])
    captions, questions = (
        rows[forms == form].astype(np.float64) for form in ("caption", "question")
    )
    halves = [
        _apart(
            captions[start::2],
            questions[start::2],
            captions[1 - start :: 2],
            questions[1 - start :: 2],
        )
        for start in (0, 1)
    ]
    direction = _discriminant(captions, questions)
    direction *= float(np.clip(np.mean(halves), 0.0, 1.0))
    middle = float((captions.mean(axis=0) + questions.mean(axis=0)) @ direction / 2)
    return direction.astype(np.float32), middle


def _apart(captions: Rows, questions: Rows, other_captions: Rows, other_questions: Rows) -> float:
    """How far apart the means of other rows are along the direction of some."""
    direction = _discriminant(captions, questions)
    return float((other_captions.mean(axis=0) - other_questions.mean(axis=0)) @ direction)


def _discriminant(captions: Rows, questions: Rows) -> Rows:
    """The direction [embed_dim] along which the means of two sets are 1 apart.

    Fisher's linear discriminant (1936), its covariances shrunk towards a multiple of the identity
    (Ledoit and Wolf 2004).
    """
    apart = captions.mean(axis=0) - questions.mean(axis=0)
    within = np.cov(captions.T) + np.cov(questions.T)
    level = np.trace(within) / len(within)
    shrunk = (1 - _SHRINKAGE) * within + _SHRINKAGE * level * np.eye(len(within))
    direction: Rows = np.linalg.solve(shrunk, apart) if level > 0 else apart
    return direction / max(float(direction @ apart), 1e-12)


def completed(encoder: BankEncoder) -> Space:
    """The space of a lane with a bank and constants; as it is if it has a bank or takes no text.

    Pictures and sounds of the bank are drawn and made here, so that their constants are rough. A
    store replaces them by what it measures.
    """
    space = encoder.space
    if space.bank or TEXT not in encoder.modalities:
        return space
    rows = _encoded(encoder)
    queries, questions = told_apart(sample_queries(), rows[_QUESTIONS])
    samples = {m: of[:, None] for m, of in rows.items() if m in (TEXT, IMAGE, AUDIO)}
    lacking = {m: of for m, of in samples.items() if m not in space.calibration}
    constants = constants_of(measure(queries, questions, lacking)) if lacking else {}
    space = replace(space, calibration={**constants, **space.calibration})
    return replace(space, bank=bank_of(rows[TEXT], rows[_QUESTIONS], space))


_QUESTIONS = Modality("questions")
"""Where rows of the shipped queries are, beside those of the bank by modality."""
_MEDIA: Mapping[Modality, Callable[[], Sequence[object]]] = {IMAGE: pictures, AUDIO: sounds}


def _encoded(encoder: BankEncoder) -> Mapping[Modality, Embeddings]:
    """The rows of the bank, kept in the cache of this machine.

    A space's name does not say how its queries are encoded, so one is encoded and compared.
    """
    queries = sample_queries()
    probe = encoder.encode_items([Item(TEXT, queries[0].text, QUERY)])[0]
    texts = [query.text for query in queries] + [foreign.text for foreign in foreign_texts()]
    # A server may take pictures by now under the same name.
    media = sorted(set(_MEDIA).intersection(encoder.modalities))
    facts = json.dumps([encoder.space.fingerprint, encoder.space.embed_dim, media, texts])
    path = cache_folder("banks") / f"{hashlib.sha256(facts.encode()).hexdigest()[:16]}.npz"

    def is_like_probe(file: Path) -> bool:
        try:
            row = _read(file)[_QUESTIONS][0]
        except (OSError, EOFError, ValueError, KeyError, BadZipFile):  # damaged
            return False
        return row.shape == probe.shape and float(row @ probe) >= _SAME_COSINE

    def write(file: Path) -> None:
        rows = {str(modality): of for modality, of in _encode(encoder).items()}
        with file.open("wb") as target:
            np.savez(target, allow_pickle=False, **rows)

    try:
        make_once(path, write, is_whole=is_like_probe, timeout_s=_LOCK_TIMEOUT_S)
        return _read(path)
    except OSError as error:  # also a lock that another process holds for too long
        logger.info("the bank of %s cannot be kept in %s: %s", encoder.space, path, error)
        return _encode(encoder)


def _read(file: Path) -> Mapping[Modality, Embeddings]:
    # Of a path, `np.load` leaves the file open if the archive is cut short.
    with file.open("rb") as source, np.load(source) as arrays:
        return {Modality(name): arrays[name] for name in arrays.files}


def _encode(encoder: BankEncoder) -> Mapping[Modality, Embeddings]:
    rows = {TEXT: encoded_texts(encoder), _QUESTIONS: encoded_queries(encoder)}
    for modality, make in _MEDIA.items():
        if modality in encoder.modalities:
            rows[modality] = encoder.encode_items([Item(modality, each) for each in make()])
    return rows
