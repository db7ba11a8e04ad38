"""The gate as a file: token rarity, thresholds, weight changes, and what they were fitted to."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.deltas import DOWN, UP, Deltas, digest
from encoder.dsre.settings import GateSettings
from encoder.errors import InputError, ModelError

_VERSION, _WITHOUT_DELTAS = 2, 1
_PREFIX = "delta."
_IDENTITY = "identity"
"""Among the facts, so that the changes need not be read for it."""


@dataclass(frozen=True, eq=False)
class GateFile:
    """Everything that the gate adds to a model.

    Args:
        rarity: see `encoder.dsre.gatefile.token_rarity`; uint8 [vocab_size].
        settings: thresholds, protection, floor, shortest text.
        facts: for readers: the model, the corpus, the measured loss. Not part of the identity.
        deltas: what training adds to the weights; empty if only calibrated.
    """

    rarity: NDArray[np.uint8]
    settings: GateSettings
    facts: Mapping[str, Any] = field(default_factory=dict)
    deltas: Deltas = field(default_factory=dict)

    @cached_property
    def identity(self) -> str:
        """The gate's part of the space's fingerprint: equal only where embeddings are equal."""
        if isinstance(self.deltas, _StoredDeltas) and self.deltas.identity:
            return self.deltas.identity
        facts = [
            self._version,
            asdict(self.settings),
            *([digest(self.deltas)] if self.deltas else []),
        ]
        parts = json.dumps(facts).encode() + self.rarity.tobytes()
        return f"dsre:{hashlib.sha256(parts).hexdigest()[:16]}"

    @property
    def _version(self) -> int:
        """The file's version; without deltas it stays the one that older programs read."""
        return _VERSION if self.deltas else _WITHOUT_DELTAS

    def check_fit(self, n_layers: int, vocab_size: int) -> None:
        """Raise a `ModelError` if the gate was made for a different model."""
        fitted = (len(self.settings.thresholds), len(self.rarity))
        if fitted != (n_layers, vocab_size):
            raise ModelError(
                f"The gate is for {fitted[0]} layers and {fitted[1]} tokens, but the model has "
                f"{n_layers} and {vocab_size}.",
                remedy="Calibrate one for this model with `anymodal models gate calibrate`.",
            )

    def save(self, path: Path) -> None:
        """Write an ``.npz``, whole or not at all."""
        facts = {**self.facts, _IDENTITY: self.identity}
        header = {"version": self._version, **asdict(self.settings), "facts": facts}
        arrays: dict[str, Any] = {_PREFIX + name: values for name, values in self.deltas.items()}
        arrays |= {"rarity": self.rarity, "about": np.array(json.dumps(header))}
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> GateFile:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing, damaged or of an unknown version.
            InputError: it holds settings that no gate can work with.
        """
        header, rarity, names = _read(path)
        if (version := header.pop("version", None)) not in (_VERSION, _WITHOUT_DELTAS):
            raise ModelError(
                f"{path} is a gate of version {version}; this program reads up to {_VERSION}.",
                remedy=_REMEDY,
            )
        facts = header.pop("facts")
        deltas = _StoredDeltas(path, names, facts.pop(_IDENTITY, None))
        settings = GateSettings(**header | {"thresholds": tuple(header["thresholds"])})
        return cls(rarity, settings, facts, deltas)


_REMEDY = (
    "Calibrate again with `anymodal models gate calibrate`, or run dense with enable_dsre=False."
)


class _StoredDeltas(Mapping[str, NDArray[np.float16]]):
    """The changes in a file: hundreds, which only the building of a network reads."""

    def __init__(self, path: Path, names: Sequence[str], identity: str | None) -> None:
        self._path, self._names, self.identity = path, names, identity

    @cached_property
    def _values(self) -> Deltas:
        with _opened(self._path) as arrays:
            deltas = {name: arrays[_PREFIX + name] for name in self._names}
        _check_deltas(self._path, deltas)
        return deltas

    def __getitem__(self, name: str) -> NDArray[np.float16]:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"{path} is not a gate file: {error}.", remedy=_REMEDY) from error


def _read(path: Path) -> tuple[dict[str, Any], NDArray[np.uint8], list[str]]:
    with _opened(path) as arrays:
        header: dict[str, Any] = json.loads(str(arrays["about"]))
        rarity: NDArray[np.uint8] = arrays["rarity"]
        prefixed = [name for name in arrays.files if name.startswith(_PREFIX)]
    if rarity.dtype != np.uint8 or rarity.ndim != 1:
        raise ModelError(
            f"{path}: its rarity is {rarity.dtype} {list(rarity.shape)}, not uint8 [vocab_size].",
            remedy=_REMEDY,
        )
    return header, rarity, [name.removeprefix(_PREFIX) for name in prefixed]


def _check_deltas(path: Path, deltas: Deltas) -> None:
    for name, values in deltas.items():
        other = name.removesuffix(UP) + DOWN if name.endswith(UP) else name
        if name.endswith(DOWN):
            other = name.removesuffix(DOWN) + UP
        if values.dtype != np.float16 or other not in deltas or not np.isfinite(values).all():
            raise ModelError(
                f"{path}: its change of {name} is not finite float16 or has no {other}.",
                remedy=_REMEDY,
            )


def token_rarity(texts: Iterable[Sequence[int]], vocab_size: int) -> NDArray[np.uint8]:
    """Inverse document frequency (Spärck Jones 1972) of each token, scaled to 0…255.

    Args:
        texts: the token ids of each text.
        vocab_size: how many tokens there are.

    Returns:
        uint8 [vocab_size]: 0 for a token that every text has, 255 for one that none has.

    Raises:
        InputError: no text, or a token id outside the vocabulary.

    >>> token_rarity([[0, 1], [0]], 3).tolist()
    [0, 94, 255]
    """
    frequency = np.zeros(vocab_size)
    n_texts = 0
    for ids in texts:
        unique = np.unique(np.asarray(ids, np.int64))
        if unique.size and not 0 <= unique[0] <= unique[-1] < vocab_size:
            raise InputError(
                f"texts[{n_texts}]", got=f"token id {unique[-1]}", wanted=f"0 to {vocab_size - 1}"
            )
        frequency[unique] += 1
        n_texts += 1
    if not n_texts:
        raise InputError("texts", got="none", wanted="at least one, better thousands")
    idf = np.log((1 + n_texts) / (1 + frequency))
    rarity: NDArray[np.uint8] = np.round(255 * idf / np.log(1 + n_texts)).astype(np.uint8)
    return rarity
