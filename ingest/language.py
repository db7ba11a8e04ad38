"""Detect the language of a text."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.system.cache import machine_cache
from encoder.system.private import private_folder

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

SAMPLE_CHARS = 4000
"""More text does not improve the guess."""

# About a sentence: shorter texts and lower scores are guesses.
_LEAST_LETTER_BYTES = 30
_LEAST_SURE = 0.75
_NO_LANGUAGE = "zxx"


def language_of(text: str) -> str:
    """The ISO 639-1 code; empty for a text that is too short, mixed or not a language.

    Chosen among 97 languages, by their letters (Lui and Baldwin 2012). The tables take 68 MB of the
    machine's cache, which processes share, or 76 MB in each process if nothing can be kept there.

    >>> language_of("The ferry to the islands leaves at nine in the morning.")
    'en'
    >>> language_of("12:30, 14:45")
    ''
    """
    sample = text[:SAMPLE_CHARS]
    # A Chinese character has three bytes and says as much as three English letters.
    if sum(len(letter.encode(errors="replace")) for letter in sample if letter.isalpha()) < (
        _LEAST_LETTER_BYTES
    ):
        return ""
    language, sure = _identifier().classify(sample)
    return language if sure >= _LEAST_SURE and language != _NO_LANGUAGE else ""


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    folder = machine_cache() / "language" / version("py3langid")
    with suppress(OSError, EOFError, TypeError, ValueError):  # damaged, or not there
        return _kept(folder)
    whole = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    with suppress(OSError):  # it may be read-only, full, or just filled by another process
        _keep(folder, whole)
    return whole


def _keep(folder: Path, whole: LanguageIdentifier) -> None:
    """Keep it unpacked: the package's file takes 0.8 CPU-seconds to read."""
    import numpy as np

    with tempfile.TemporaryDirectory(dir=private_folder(folder.parent)) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        for name in ("nb_ptc", "nb_pc", "nb_classes", "tk_nextmove", "tk_output", "tk_row"):
            np.save(new / f"{name}.npy", np.asarray(getattr(whole, name)))
        new.rename(folder)


def _kept(folder: Path) -> LanguageIdentifier:
    import numpy as np
    from py3langid.langid import LanguageIdentifier

    tables: dict[str, Any] = {
        path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.iterdir())
    }
    # A view gives plain numbers; an array gives NumPy objects, at a fifth of the speed.
    for name in ("tk_nextmove", "tk_output", "tk_row"):
        tables[name] = memoryview(tables[name])
    tables["nb_classes"] = tables["nb_classes"].tolist()
    return LanguageIdentifier(**tables, norm_probs=True)
