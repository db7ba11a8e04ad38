"""Stores to Parquet and back."""

from __future__ import annotations

import json
from dataclasses import replace
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
from search.types import GONE_SINCE, AssetRow, SegmentRow
from workers.cli.main import anymodal
from workers.library.portable import (
    Imported,
    Manifest,
    export_store,
    import_store,
    open_export,
)

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
        asset_id,
        IMAGE,
        "image/png",
        9,
        {IMAGE: 1, TEXT: 1},
        [f"/{number}.png", f"/x{number}"],
        metadata,
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
    told = import_store(other, tmp_path / "out", open_export(tmp_path / "out"), quiet)
    assert told == Imported(N_ASSETS)
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
    assert import_store(other, tmp_path, open_export(tmp_path), quiet) == Imported(N_ASSETS - 3)
    assert import_store(other, tmp_path, open_export(tmp_path), quiet) == Imported()
    assert state(other)[0] == state(store)[0]


class Removing(MemoryStore):
    """Another process removes its fourth asset once that is being exported."""

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        if asset_id == "asset3":
            self.delete([asset_id])
        return super().embeddings(asset_id)


def test_what_is_removed_during_an_export_is_not_in_it(tmp_path: Path) -> None:
    store = Removing(DIM)
    for number in range(N_ASSETS):
        asset, segments = rows(number)
        store.write([asset], segments)
    export_store(store, tmp_path, about(), quiet)
    other = MemoryStore(DIM)
    import_store(other, tmp_path, open_export(tmp_path), quiet)
    assert [asset.asset_id for asset in other.scan()] == [
        f"asset{number}" for number in range(N_ASSETS) if number != 3
    ]


def test_what_lacks_segments_in_an_export_is_read_by_the_next_ingest(tmp_path: Path) -> None:
    store, other = MemoryStore(DIM), MemoryStore(DIM)
    asset, segments = rows(0)
    store.write([asset], segments[:2])
    export_store(store, tmp_path, about(), quiet)
    import_store(other, tmp_path, open_export(tmp_path), quiet)
    assert [row.counts for row in other.scan()] == [{}]


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
    assert import_store(MemoryStore(DIM), tmp_path, open_export(tmp_path), quiet) == Imported()


def test_an_older_export_completes_what_is_stored_and_replaces_nothing(
    store: MemoryStore, tmp_path: Path
) -> None:
    export_store(store, tmp_path, about(), quiet)
    stored = {row.asset_id: row for row in store.scan()}
    retagged, bare, gone, moved, removed, edited, untitled = stored
    for asset_id, changes in {
        retagged: {"locations": ["/new"], "metadata": {"title": "Newer", "owner": "Ada"}},
        bare: {"counts": {}},
        gone: {"metadata": {**stored[gone].metadata, GONE_SINCE: 1.0}},
        moved: {"locations": ["/moved"]},
        untitled: {"metadata": {**stored[untitled].metadata, "title": "6"}},
    }.items():
        store.write([replace(stored[asset_id], **changes)], [])
    store.empty([bare])
    more = replace(rows(0)[1][0], segment_id="window", index=7)  # as with other windows
    store.write([replace(store.assets([moved])[moved], counts={IMAGE: 3})], [more])
    store.delete([removed, edited])
    store.write([AssetRow("other", TEXT, "text/plain", 1, {}, ["/5.png", "/x5", "/x0"])], [])
    before = state(store)

    told = import_store(store, tmp_path, open_export(tmp_path), quiet)
    now = {row.asset_id: row for row in store.scan()}
    assert (told.n_added, told.n_completed) == (2, 4)
    assert told.kept.keys() == {retagged, gone, moved, edited}
    assert told.kept[moved] == "/moved"
    assert now[retagged].metadata == {**stored[retagged].metadata, "title": "Newer", "owner": "Ada"}
    assert now[retagged].locations == ["/new", "/0.png"]  # "/x0" is the other's by now
    assert now[bare] == replace(stored[bare], locations=now[bare].locations)
    assert len(store.embeddings(bare)) == 3
    assert now[untitled] == stored[untitled]  # it had been read anew, from "/6.png"
    assert now[gone].is_gone
    assert now[gone].locations == stored[gone].locations
    assert (now[moved].counts, len(store.embeddings(moved))) == ({IMAGE: 3}, 3)
    assert now[removed] == stored[removed]
    assert now[edited].is_gone  # all its places hold the other
    assert now["other"].locations == ["/5.png", "/x5", "/x0"]
    assert {row.key for row in before[1].values()} <= {*state(store)[1]}
    assert import_store(store, tmp_path, open_export(tmp_path), quiet).n_completed == 0


@pytest.mark.parametrize("command", ["export", "import"])
def test_without_pyarrow_the_extra_is_named(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda module: module != "pyarrow")
    with pytest.raises(MissingExtraError, match=r"store .*port.*\[parquet\]'"):
        CliRunner().invoke(anymodal, ["store", command, str(tmp_path)], catch_exceptions=False)
