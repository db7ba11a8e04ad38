"""What a model ships for its space, as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encoder.space import Bank, Calibration, Centring, Sideways
from encoder.types import Modality

_ARRAYS = ("deviations", "weights", "common")
_OF_BANK = ("foreign", "questions", "naming")
_FIGURES_OF_BANK = ("middle", "level", "spread", "nearest", "best")


def read_constants(path: Path) -> dict[Modality, Calibration]:
    """The constants of a file that `write_constants` wrote, by modality."""
    kinds: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return {
        Modality(modality): Calibration(
            facts["mu"],
            facts["c"],
            tuple(Calibration(**row) for row in facts.get("further", ())),
            facts.get("share", 0.0),
        )
        for modality, facts in kinds.items()
    }


def write_constants(path: Path, constants: Mapping[Modality, Calibration]) -> None:
    """Write constants, with four digits after the point."""
    kinds = {str(modality): _facts(calibration) for modality, calibration in constants.items()}
    path.write_text(json.dumps(kinds, indent=2) + "\n", "utf-8")


def _facts(calibration: Calibration) -> dict[str, Any]:
    facts: dict[str, Any] = {"mu": round(calibration.mu, 4), "c": round(calibration.c, 4)}
    if calibration.further:
        facts["further"] = list(map(_facts, calibration.further))
    return facts | ({"share": calibration.share} if calibration.share else {})


def read_centring(path: Path) -> Centring:
    """The languages of a file that `write_centring` wrote."""
    with np.load(path) as arrays:
        return Centring(*(arrays[name].astype(np.float32) for name in _ARRAYS))


def write_centring(path: Path, languages: Sequence[str], centring: Centring) -> None:
    """Write what is known of these languages, as float16."""
    np.savez_compressed(
        path,
        languages=np.array(languages),
        **{name: getattr(centring, name).astype(np.float16) for name in _ARRAYS},
    )


def read_sideways(path: Path) -> Sideways:
    """What ``benchmarks/fits/sideways.py`` wrote."""
    with np.load(path) as arrays:
        return Sideways(arrays["direction"].astype(np.float32), float(arrays["limit"]))


def read_bank(path: Path) -> Bank:
    """The bank of a file that `write_bank` wrote."""
    with np.load(path) as arrays:
        foreign, questions, naming = (arrays[name].astype(np.float32) for name in _OF_BANK)
        return Bank(foreign, questions, naming, *(float(arrays[n]) for n in _FIGURES_OF_BANK))


def write_bank(path: Path, bank: Bank) -> None:
    """Write a bank, as float16."""
    rows = {name: getattr(bank, name).astype(np.float16) for name in _OF_BANK}
    figures = {name: np.array(getattr(bank, name)) for name in _FIGURES_OF_BANK}
    np.savez_compressed(path, allow_pickle=False, **rows, **figures)
