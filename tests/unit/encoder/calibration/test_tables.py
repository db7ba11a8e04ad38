from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.calibration.tables import (
    CalibrationTable,
    read_centring,
    read_table,
    write_centring,
    write_table,
)
from encoder.models.bundle.declaration import all_bundles
from encoder.space import USUAL_ODDS, Calibration, Centring, Floor, Odds
from encoder.types import IMAGE, TEXT


def test_a_table_returns_as_it_was_written(tmp_path: Path) -> None:
    table = CalibrationTable(
        {
            TEXT: Calibration(0.1, 0.2, share=0.8),
            IMAGE: Calibration(0.3, 0.4, (Calibration(0.5, 0.6),)),
        },
        {IMAGE: Floor(1.5, 0.25, 700), TEXT: Floor(-2.5, 0.0, 9, (0.5, -0.25), 0.125)},
        Odds(2.0, 0.5, 0.25),
    )
    write_table(tmp_path / "table.json", table)
    assert read_table(tmp_path / "table.json") == table


def test_a_table_without_odds_has_the_usual_ones(tmp_path: Path) -> None:
    write_table(tmp_path / "table.json", CalibrationTable({TEXT: Calibration(0.1, 0.2)}, {}))
    assert "odds" not in (tmp_path / "table.json").read_text()
    assert read_table(tmp_path / "table.json").odds == USUAL_ODDS
    assert USUAL_ODDS.of(0.0) == pytest.approx(USUAL_ODDS.least, abs=0.005)


def test_languages_return_as_they_were_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    languages = rng.normal(size=(2, 3, 8)).astype(np.float32)
    centring = Centring(*languages, languages[0, 0])
    write_centring(tmp_path / "languages.npz", ["a", "b", "c"], centring)
    again = read_centring(tmp_path / "languages.npz")
    np.testing.assert_allclose(again.deviations, centring.deviations, rtol=1e-3)
    np.testing.assert_allclose(again.weights, centring.weights, rtol=1e-3)
    np.testing.assert_allclose(again.common, centring.common, rtol=1e-3)


def test_a_bundle_whose_constants_are_for_centred_queries_ships_languages() -> None:
    for bundle in all_bundles():
        shares = [of.share for of in bundle.calibration.constants.values()]
        assert (bundle.centring is not None) == any(shares)


def test_a_bundle_ships_floors_for_what_it_calibrates() -> None:
    for bundle in all_bundles():
        table = bundle.calibration
        assert table.floors.keys() <= table.constants.keys()
        for floor in table.floors.values():
            assert -1 < floor.among(1000) < floor.among(1_000_000) < 10
            assert len(floor.tilt) == bundle.embed_dim
