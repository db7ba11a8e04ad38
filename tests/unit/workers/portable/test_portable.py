"""Stores to Parquet and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from encoder.errors import InputError, MissingExtraError
from encoder.system import extras
from encoder.types import IMAGE, TEXT
from search.errors import SpaceMismatchError
from search.store.memory import MemoryStore
from search.types import AssetRow, SegmentRow
from workers.cli.main import anymodal
from workers.library.portable import Manifest, export_store, import_store, open_export

DIM = 8
N_ASSETS = 7


def about() -> Manifest:
    return Manifest("bundle:english", "f00d", DIM)


def rows(number: int) -> tuple[AssetRow, list[SegmentRow]]:
    """A picture of two vectors and a line of text in it."""
    asset_id = f"asset{number}"
    vectors = np.random.default_rng(number).normal(size=(3, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    metadata = {"title": "Grüße", "tags": ["a", "b"], "width": 3, "rate": 1.5}
    asset = AssetRow(
        asset_id, IMAGE, "image/png", 9, {IMAGE: 2}, [f"/{number}.png", "/x"], metadata
    )
    first, second = (
        SegmentRow(f"{asset_id}s", asset_id, IMAGE, 0, vectors[row], row=row) for row in range(2)
    )
    place = json.dumps({"page": 2})
    text = SegmentRow(
        f"{asset_id}t", asset_id, TEXT, 1, vectors[2], snippet="猫", char_start=0, place=place
    )
    return asset, [first, second, text]


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(DIM)
    for number in range(N_ASSETS):
        asset, segments = rows(number)
        store.write([asset], segments)
    return store


def quiet(_done: int, _total: int) -> None:
    pass


def state(store: MemoryStore) -> tuple[list[AssetRow], dict[str, SegmentRow]]:
    found = {row.key: row for asset in store.scan() for row in store.embeddings(asset.asset_id)}
    return list(store.scan()), found


def test_a_store_comes_back_as_it_was(store: MemoryStore, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    done = export_store(
        store, tmp_path / "out", about(), lambda *n: seen.append(n), assets_at_once=3
    )
    other = MemoryStore(DIM)
    assert import_store(other, tmp_path / "out", open_export(tmp_path / "out"), quiet) == N_ASSETS
    (assets, segments), (expected, wanted) = state(other), state(store)
    assert assets == expected
    assert segments.keys() == wanted.keys()
    assert len(wanted) == 3 * N_ASSETS
    for key, row in segments.items():
        mine, yours = vars(row).copy(), vars(wanted[key]).copy()
        assert mine.pop("embedding") == pytest.approx(yours.pop("embedding"))
        assert mine == yours
    assert seen == [(3, 7), (6, 7), (7, 7)]
    assert [part.n_segments for part in done.parts] == [9, 9, 3]
    table = pq.read_table(tmp_path / "out" / "part-00000.segments.parquet")
    assert table.schema.field("embedding").type.list_size == DIM


def test_an_interrupted_export_goes_on(store: MemoryStore, tmp_path: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_store(store, tmp_path, about(), stop, assets_at_once=2)
    with pytest.raises(InputError, match="incomplete"):
        open_export(tmp_path)
    first = (tmp_path / "part-00000.assets.parquet").stat().st_mtime_ns
    done = export_store(store, tmp_path, about(), quiet, assets_at_once=2)
    assert (tmp_path / "part-00000.assets.parquet").stat().st_mtime_ns == first
    assert [part.last for part in done.parts] == ["asset1", "asset3", "asset5", "asset6"]
    with pytest.raises(SpaceMismatchError, match="bundle:english"):
        export_store(store, tmp_path, Manifest("bundle:other", "beef", DIM), quiet)


def test_an_interrupted_import_goes_on(store: MemoryStore, tmp_path: Path) -> None:
    export_store(store, tmp_path, about(), quiet, assets_at_once=3)
    other = MemoryStore(DIM)

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_store(other, tmp_path, open_export(tmp_path), stop)
    assert import_store(other, tmp_path, open_export(tmp_path), quiet) == N_ASSETS - 3
    assert import_store(other, tmp_path, open_export(tmp_path), quiet) == 0
    assert state(other)[0] == state(store)[0]


def test_damage_is_found_before_anything_is_written(store: MemoryStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"without manifest\.json"):
        open_export(tmp_path)
    export_store(store, tmp_path, about(), quiet)
    path = tmp_path / "part-00000.segments.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=r"part-00000\.segments\.parquet, which is missing or"):
        open_export(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        open_export(tmp_path)


def test_a_store_of_nothing(tmp_path: Path) -> None:
    done = export_store(MemoryStore(DIM), tmp_path, about(), quiet)
    assert (done.parts, done.whole) == ([], True)
    assert import_store(MemoryStore(DIM), tmp_path, open_export(tmp_path), quiet) == 0


@pytest.mark.parametrize("command", ["export", "import"])
def test_without_pyarrow_the_extra_is_named(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda module: module != "pyarrow")
    with pytest.raises(MissingExtraError, match=r"store .*port.*\[parquet\]'"):
        CliRunner().invoke(anymodal, ["store", command, str(tmp_path)], catch_exceptions=False)
