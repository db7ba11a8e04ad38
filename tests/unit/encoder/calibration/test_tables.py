from __future__ import annotations

from pathlib import Path

from encoder.calibration.tables import CalibrationTable, read_table, write_table
from encoder.models.bundle.declaration import all_bundles
from encoder.space import Calibration, Floor
from encoder.types import IMAGE, TEXT


def test_a_table_returns_as_it_was_written(tmp_path: Path) -> None:
    table = CalibrationTable(
        {TEXT: Calibration(0.1, 0.2), IMAGE: Calibration(0.3, 0.4, (Calibration(0.5, 0.6),))},
        {IMAGE: Floor(1.5, 0.25, 700), TEXT: Floor(-2.5, 0.0, 9, (0.5, -0.25), 0.125)},
    )
    write_table(tmp_path / "table.json", table)
    assert read_table(tmp_path / "table.json") == table


def test_a_bundle_ships_floors_for_what_it_calibrates() -> None:
    for bundle in all_bundles():
        table = bundle.calibration
        assert table.floors.keys() <= table.constants.keys()
        for floor in table.floors.values():
            assert -1 < floor.among(1000) < floor.among(1_000_000) < 10
            assert len(floor.tilt) == bundle.embed_dim
