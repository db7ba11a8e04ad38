"""A store's calibration in plain values, as the command line and the API show it. Pure."""

from __future__ import annotations

from typing import Any

from encoder.space import Calibration
from search.store.calibrated import Constants, StoredCalibration

_OF_KIND = ("spread", "spread_of_languages", "n_vectors", "n_segments")


def describe(state: StoredCalibration, in_use: Constants) -> dict[str, Any]:
    """What is known about a store's calibration.

    Args:
        state: what the store says.
        in_use: the constants by which searches rank: the store's, or the model's if it has none.
    """
    measured = state.about.get("modalities", {})
    return {
        "source": state.about["source"],
        "measured_at": state.about.get("measured_at"),
        "is_rewriting": bool(state.former),
        "modalities": {
            str(kind): {
                **plain(one),
                **{name: measured.get(str(kind), {}).get(name) for name in _OF_KIND},
            }
            for kind, one in sorted(in_use.items())
        },
    }


def plain(one: Calibration) -> dict[str, Any]:
    """The constants of a kind of segment, and those of its further rows, if it has several."""
    further = [{"mu": row.mu, "c": row.c} for row in one.further]
    return {"mu": one.mu, "c": one.c, "further": further}
