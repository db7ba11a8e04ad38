"""Constants and floors as a file, as a model ships them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoder.space import USUAL_ODDS, Calibration, Centring, Floor, Odds, Sideways
from encoder.types import Modality

_ARRAYS = ("deviations", "weights", "common")


@dataclass(frozen=True)
class CalibrationTable:
    """What a model ships for its space: constants and floors by modality, and the odds above them.

    A file without odds has the usual ones.
    """

    constants: Mapping[Modality, Calibration]
    floors: Mapping[Modality, Floor]
    odds: Odds = USUAL_ODDS


def read_table(path: Path) -> CalibrationTable:
    """The table of a file that `write_table` wrote."""
    kinds: dict[str, Any] = json.loads(path.read_text("utf-8"))
    odds = Odds(**kinds.pop("odds", {}))
    return CalibrationTable(
        {
            Modality(modality): Calibration(
                facts["mu"],
                facts["c"],
                tuple(Calibration(**row) for row in facts.get("further", ())),
                facts.get("share", 0.0),
            )
            for modality, facts in kinds.items()
        },
        {Modality(modality): floor_of(f["floor"]) for modality, f in kinds.items() if "floor" in f},
        odds,
    )


def write_table(path: Path, table: CalibrationTable) -> None:
    """Write a table, with four digits after the point."""
    kinds = {
        str(modality): _facts(calibration) for modality, calibration in table.constants.items()
    }
    for modality, floor in table.floors.items():
        kinds[str(modality)]["floor"] = floor_facts(floor)
    if table.odds != USUAL_ODDS:
        kinds["odds"] = asdict(table.odds)
    path.write_text(json.dumps(kinds, indent=2) + "\n", "utf-8")


def floor_facts(floor: Floor) -> dict[str, Any]:
    """A floor in plain values; the tilt as float16 in base64."""
    facts: dict[str, Any] = {"level": round(floor.level, 4), "slope": round(floor.slope, 4)}
    tilt = base64.b64encode(np.array(floor.tilt, "<f2").tobytes()).decode()
    bent = {"middle": round(floor.middle, 4), "tilt": tilt} if tilt else {}
    return {**facts, "n": floor.n, **bent}


def floor_of(facts: Mapping[str, Any]) -> Floor:
    """What `floor_facts` made."""
    tilt = np.frombuffer(base64.b64decode(facts.get("tilt", "")), "<f2")
    numbers = tuple(tilt.astype(float).tolist())
    return Floor(facts["level"], facts["slope"], facts["n"], numbers, facts.get("middle", 0.0))


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
    """What ``scripts/fit_sideways.py`` wrote."""
    with np.load(path) as arrays:
        return Sideways(arrays["direction"].astype(np.float32), float(arrays["limit"]))
