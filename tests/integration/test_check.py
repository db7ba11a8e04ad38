"""``anymodal store check``: exit codes, JSON, and what ``--repair`` leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import Run


@pytest.mark.slow
def test_a_record_that_lost_rows_gets_them_back(here: Run, media: Path, store_uri: str) -> None:
    here("ingest", media)
    assert here("store", "check")["differences"] == []
    (manifest,) = (Path(store_uri) / "collections").glob("*_assets/manifest.json")
    facts = json.loads(manifest.read_text())
    for listed in facts["partitions"].values():
        listed["data_files"] = []
    manifest.write_text(json.dumps({**facts, "current_seq": 1}))
    assert len(here("list", "--limit", 9)["assets"]) == 6
    assert "has lost rows" in here("delete", media / "texts" / "bread.txt", fails=1)
    here("store", "check", fails=1)
    mended = here("store", "check", "--repair")
    numbers = {one["kind"]: one["n"] for one in mended["differences"]}
    assert numbers["lost_by_record"] == 6
    assert (mended["left"], mended["lost"], mended["assets"]) == ([], {}, 6)
    assert here("store", "check")["differences"] == []
    here("delete", media / "texts" / "bread.txt")
    assert len(here("list", "--limit", 9)["assets"]) == 5


def test_a_store_that_is_not_there_cannot_be_checked(here: Run) -> None:
    assert "There is no store" in here("store", "check", fails=2)


@pytest.mark.slow
def test_what_a_record_cannot_read_is_exported_from_the_index(
    here: Run, media: Path, store_uri: str, tmp_path: Path
) -> None:
    here("ingest", media)
    for path in Path(store_uri).glob("collections/*/partitions/*/data/*.parquet"):
        path.write_bytes(bytes(path.stat().st_size))
    assert "store export" in here("store", "check", "--repair", fails=2)
    assert here("store", "export", tmp_path / "saved")["assets"] == 6
    new = str(tmp_path / "new")
    here("store", "import", tmp_path / "saved", ANYMODAL_STORE=new)
    checked = here("store", "check", ANYMODAL_STORE=new)
    assert (checked["assets"], checked["differences"]) == (6, [])
