"""Stores as each schema that was ever on main wrote them (tests/data/schemas)."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from encoder.types import TEXT
from search.errors import ReadOnlyStoreError, StoreError
from search.filters import parse_filter
from search.store.base import VectorStore
from search.store.open import open_store
from search.store.schema import LAST_WRITERS, OLD_VERSION, SCHEMA_VERSION
from tests.contract.rows import DIM, SPACE, segment, vectors

STORES = Path(__file__).parents[1] / "data" / "schemas"
N_TEXTS = 3
KEPT = parse_filter({"field": "tags", "contains": "kept"})


def unpacked(schema: int, folder: Path) -> str:
    with tarfile.open(STORES / f"{schema}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return str(folder)


def opened(uri: str) -> VectorStore:
    return open_store(uri, SPACE, DIM)


def facts(store: VectorStore) -> list[object]:
    """All that a store says of its rows: what is known of the files, and how near they are."""
    (hits,) = store.search(vectors(1), TEXT, 10)
    found = [(hit.asset_id, hit.snippet, round(hit.cosine, 5)) for hit in hits]
    assets = [(row.asset_id, *row.locations, str(row.metadata)) for row in store.scan()]
    return [found, sorted(assets), sorted(store.select(KEPT, limit=10))]


def test_each_schema_has_a_store_here() -> None:
    assert sorted(int(path.name.split(".")[0]) for path in STORES.glob("*.tar.xz")) == [
        *LAST_WRITERS,
        OLD_VERSION,
        SCHEMA_VERSION,
    ]


@pytest.mark.parametrize("schema", LAST_WRITERS)
def test_a_schema_that_is_not_read_any_more_names_its_last_commit(
    schema: int, tmp_path: Path
) -> None:
    with pytest.raises(StoreError) as refusal:
        opened(unpacked(schema, tmp_path))
    commit = LAST_WRITERS[schema].split()[0]
    assert f"schema {schema} " in str(refusal.value)
    assert commit in str(refusal.value)
    git = ["git", "merge-base", "--is-ancestor", commit, "HEAD"]
    if (STORES.parents[2] / ".git").exists():  # not in a source distribution
        subprocess.run(git, cwd=STORES, check=True)


def test_the_last_schema_is_searched_upgraded_and_then_written_to(tmp_path: Path) -> None:
    store = opened(unpacked(OLD_VERSION, tmp_path / "old"))
    before = facts(store)
    with pytest.raises(ReadOnlyStoreError, match="anymodal store upgrade"):
        store.write([], [segment("0" * 32, 1, vectors(1)[0], TEXT)])
    assert store.upgrade(lambda *_: None) == N_TEXTS
    assert facts(store) == before
    store.close()
    shutil.copytree(tmp_path / "old", tmp_path / "restored")  # as a backup is
    again = opened(str(tmp_path / "restored"))
    assert facts(again) == before
    again.delete(["0" * 32])
    assert again.count() == N_TEXTS - 1
    again.close()


def test_today_s_schema_answers_as_the_one_before(tmp_path: Path) -> None:
    stores = [
        opened(unpacked(schema, tmp_path / str(schema))) for schema in (OLD_VERSION, SCHEMA_VERSION)
    ]
    older, today = map(facts, stores)
    assert today == older
    found, assets, kept = today
    assert len(found) == len(assets) == len(kept) == N_TEXTS  # type: ignore[arg-type]
    for store in stores:
        store.close()
