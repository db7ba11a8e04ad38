"""``anymodal store export`` and ``store import``, from one embedded store to another."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import Run


@pytest.fixture
def store_uri(tmp_path: Path) -> str:
    return str(tmp_path / "data" / "store")


@pytest.mark.slow
def test_a_copy_finds_the_same(here: Run, media: Path, tmp_path: Path) -> None:
    bread, folder, other = media / "texts" / "bread.txt", tmp_path / "out", tmp_path / "other"
    here("ingest", bread, "--tag", "food")
    assert here("store", "export", folder) == {"assets": 1, "vectors": 1}
    assert here("store", "import", folder, "--store", other) == {"added": 1}
    assert here("store", "import", folder, "--store", other) == {"added": 0}
    mine, copy = (here("info", bread, *store) for store in ((), ("--store", other)))
    assert mine == copy
    assert copy["metadata"]["tags"] == ["food"]
