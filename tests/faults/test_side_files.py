"""The index beside a folder's record: killed writers; files damaged, missing or old."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from encoder.types import TEXT
from search.errors import StoreError
from search.store.base import VectorStore
from search.store.embedded import side, writing
from search.store.embedded import store as embedded_store
from search.store.embedded import texts as kept
from search.store.embedded import vector_files as files
from search.store.embedded.store import EmbeddedStore
from search.store.embedded.tables import IndexTables, set_fact
from search.store.memory import MemoryStore
from tests.contract.rows import (
    CALIBRATION,
    DIM,
    SPACE,
    assert_same_answers,
    asset,
    corpus,
    opened,
    record_of,
    segment,
)
from tests.contract.rows import vectors as random_vectors
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]


def _make_chunks_small(patch: pytest.MonkeyPatch) -> None:
    for module in (files, side, writing):
        patch.setattr(module, "CHUNK", 32)
    patch.setattr(files, "STEP", 8)
    patch.setattr(files, "_FEW", 8)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    _make_chunks_small(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled") / "store"
    with pytest.MonkeyPatch.context() as patch:
        _make_chunks_small(patch)
        store = opened(folder)
        _fill(store)
        store.lexical("twelve", 5)
        store.close()
    return folder


@pytest.fixture
def oracle(folder: Path, filled: Path) -> Iterator[MemoryStore]:
    """What is in the folder: more than a chunk of each kind, and texts."""
    shutil.copytree(filled, folder)
    with closing(MemoryStore(DIM, CALIBRATION)) as oracle:
        _fill(oracle)
        yield oracle


def _fill(store: VectorStore) -> None:
    assets, segments = corpus(90)
    words = [segment("words", number, row, TEXT, snippet=f"number {number} of twelve")
             for number, row in enumerate(random_vectors(12, seed=5))]  # fmt: skip
    store.write([*assets, asset("words", "/w", modality=TEXT)], [*segments, *words])
    store.delete(["asset0-0"])


def assert_level(store: EmbeddedStore) -> None:
    """The index holds what the record holds, row by row.

    Lite may have a row twice: killed after it saved a file and before it removed its log, it reads
    the rows of both. The index has each key once.
    """
    record = record_of(store)
    assert {row.asset_id: row for row in store.scan()} == {
        row.asset_id: row for row in record.scan()
    }
    stored = {row.key: row for row in record.segments()}
    assert store.vectors(list(stored)).keys() == stored.keys()
    assert store.sizes() == Counter(row.modality for row in stored.values())
    for name in {row.asset_id for row in stored.values()}:
        keys = [row.key for row in store.embeddings(name)]
        assert keys == list(dict.fromkeys(row.key for row in record.embeddings(name)))
    store.read_names(lambda: False)
    in_data = {one.segment_id for one in store.named("data", 10_000)}
    rows = [row for row in store.scan() if any(uri.startswith("/data") for uri in row.locations)]
    assert in_data == {row.asset_id for row in rows}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _each(pattern: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        found = list((folder / "side").rglob(pattern))
        assert found, pattern
        for path in found:
            change(path)

    return changed


_DAMAGED_WORDS: dict[str, Callable[[Path], None]] = {
    "missing": _each("words", shutil.rmtree),
    "cut": _each("words/meta.json", _cut),
    "a list missing": _each("words/meta.json", Path.unlink),
}


def test_words_outlast_a_kill_and_catch_up(folder: Path, oracle: MemoryStore) -> None:
    assert len(list(oracle.scan())) == 90
    (folder / "holder.pid").write_text("1")  # as a killed process leaves it
    store = opened(folder)
    kept = set((folder / "side").rglob("*.idx"))
    assert kept
    assert store._side.current.words.n_left() == 0
    assert len(store.lexical("twelve", 20)) == 12
    (row,) = random_vectors(1)
    store.write([asset("new", modality=TEXT)], [segment("new", 0, row, TEXT, snippet="twelve")])
    assert store._side.current.words.n_left() == 1
    assert len(store.lexical("twelve", 20)) == 13
    assert kept < set((folder / "side").rglob("*.idx"))
    store.close()


def test_damaged_words_are_read_again_from_the_first(folder: Path, oracle: MemoryStore) -> None:
    assert len(list(oracle.scan())) == 90
    (row,) = random_vectors(1)
    for number, (name, damage) in enumerate(_DAMAGED_WORDS.items()):
        store = opened(folder)
        text = segment("new", number, row, TEXT, snippet="twelve")
        store.write([asset("new", modality=TEXT)], [text])  # something is left to read
        store.close()
        damage(folder)
        store = opened(folder)
        assert len(store.lexical("twelve", 20)) == 13 + number, name
        store.close()


def test_texts_that_are_added_again_outlast_many_deletions(
    folder: Path, oracle: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(list(oracle.scan())) == 90
    monkeypatch.setattr(kept, "AT_ONCE", 4)
    store = opened(folder)
    texts = [(asset(f"t{n}", modality=TEXT), segment(f"t{n}", 0, row, TEXT, snippet="heron"))
             for n, row in enumerate(random_vectors(10))]  # fmt: skip
    assets, segments = [row for row, _ in texts], [row for _, row in texts]
    ids = [row.asset_id for row in assets]
    store.write(assets, segments)
    store._side.current.words.catch_up()
    assert len(store.lexical("heron", 20)) == 10
    store.delete(ids)
    store.write(assets, segments[::-1])
    store._side.current.words.catch_up()
    assert {hit.asset_id for hit in store.lexical("heron", 20)} == set(ids)
    store.close()


def test_files_that_are_older_than_the_record_are_made_again(
    folder: Path, oracle: MemoryStore, tmp_path: Path
) -> None:
    shutil.copytree(folder / "side", tmp_path / "before")
    store = opened(folder)
    for one in (store, oracle):
        one.write([asset("new", "/new")], [segment("new", 0, random_vectors(1)[0])])
        one.delete(["asset0-4"])
    store.close()
    shutil.rmtree(folder / "side")
    shutil.copytree(tmp_path / "before", folder / "side")
    store = opened(folder)
    assert_same_answers(store, oracle)
    assert_level(store)
    store.close()


def test_kinds_with_many_rows_are_searched_side_by_side(
    folder: Path, oracle: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(folder)
    (row,) = random_vectors(1)
    store.search(row[None], TEXT, 1)
    assert store.in_process
    monkeypatch.setattr(embedded_store, "_FEW_ROWS", 10)
    assert not store.in_process
    assert_same_answers(store, oracle)
    store.close()


def test_who_makes_an_index_at_once_makes_one(folder: Path) -> None:
    """Two find none; the second one waits, and must not replace what the first one made."""
    opened(folder).close()
    _each("tables.db*", Path.unlink)(folder)
    (lock,) = (folder / "side").rglob("writing.lock")
    with ThreadPoolExecutor(2) as threads:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            opening = [threads.submit(opened, folder) for _ in range(2)]
            wait_for(lambda: _n_waiting(lock) == 2, 60, "opening")
        stores = [one.result() for one in opening]
    for number, store in enumerate(stores):
        store.write([asset(f"of-{number}")], [segment(f"of-{number}", 0, random_vectors(1)[0])])
    for store in (*stores, opened(folder)):
        assert store.count() == 2
        assert_level(store)
        store.close()


def _n_waiting(lock: Path) -> int:
    waiting = [line for line in Path("/proc/locks").read_text().splitlines() if "-> FLOCK" in line]
    return sum(f":{lock.stat().st_ino} " in line for line in waiting)


@pytest.mark.parametrize("is_missing", [False, True])
def test_who_has_a_folder_open_sees_its_index_made_again(
    folder: Path, oracle: MemoryStore, is_missing: bool
) -> None:
    """Made again by an opener that found no files, or writes that they lack."""
    before = opened(folder)
    assert_same_answers(before, oracle)
    rows = [asset("new", "/new")], [segment("new", 0, random_vectors(1)[0])]
    if is_missing:
        shutil.rmtree(folder / "side")
    else:
        for store in (record_of(before), oracle):
            store.write(*rows)
    after = opened(folder)
    for one in (before, oracle):
        one.delete(["asset0-1"])
    for store in (before, after):
        assert_same_answers(store, oracle)
        assert_level(store)
        assert len(store.lexical("twelve", 20)) == 12
        store.ping()
        store.close()


def test_who_waits_while_the_index_is_made_again_writes_to_the_new_one(
    folder: Path, oracle: MemoryStore
) -> None:
    waiting, builder = opened(folder), opened(folder)
    with ThreadPoolExecutor(1) as pool:
        with builder._side.exclusively():
            deleted = pool.submit(waiting.delete, ["asset0-1"])
            time.sleep(0.2)
            builder._side.rebuild()
        deleted.result()
    oracle.delete(["asset0-1"])
    made = builder._side.current.name
    for store in (waiting, builder, opened(folder)):
        assert store._side.current.name == made
        assert_same_answers(store, oracle)
        store.close()


_TABLES = """
import sys
from pathlib import Path
from search.store.embedded.tables import IndexTables, fact
tables = IndexTables(Path(sys.argv[1]))
with tables.reading() as db:
    print(fact(db, "n"))
tables.close()
"""


def test_who_opens_tables_again_keeps_the_locks_of_those_that_are_open(tmp_path: Path) -> None:
    """Or the next process would believe to be the last, and remove the log while it is in use."""

    def seen_by_another() -> str:
        words = [sys.executable, "-c", _TABLES, str(path)]
        return subprocess.check_output(words, cwd=ROOT, text=True, timeout=60).strip()

    path = tmp_path / "tables.db"
    tables = IndexTables.made(path, "")
    for n in range(3):
        with tables.writing() as db:
            set_fact(db, "n", n)
        IndexTables(path).close()
        assert seen_by_another() == str(n)
    tables.close()


_CHECKED = f"""
import sys
from search.store.open import open_store
from tests.contract.rows import asset
store = open_store(sys.argv[1], {SPACE!r}, {DIM})
if not store.count():
    store.write([asset("a", "/the/harbour/at/nine in the morning.png", n_segments=0)], [])
print(store.check(lambda *_: None).wrong)
store.close()
"""


def test_a_check_knows_the_names_that_another_process_has_read(folder: Path) -> None:
    for seed in ("1", "2"):  # of hashes, by which sets are ordered
        words = [sys.executable, "-c", _CHECKED, str(folder)]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        assert subprocess.check_output(words, cwd=ROOT, env=env, text=True, timeout=60) == "{}\n"


def test_readers_see_the_former_index_until_the_new_one_is_whole(
    folder: Path, oracle: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, builder = opened(folder), opened(folder)
    seen: list[int] = []
    put, drop = side.put, shutil.rmtree

    def noted(*args: Any) -> None:
        put(*args)
        seen.append(reader.count())
        assert_same_answers(reader, oracle)

    def dropped(path: Path, **options: Any) -> None:
        seen.append(reader.count())
        drop(path, **options)

    monkeypatch.setattr(side, "_ROWS_AT_ONCE", 40)
    monkeypatch.setattr(side, "put", noted)
    monkeypatch.setattr(shutil, "rmtree", dropped)
    builder._side.rebuild()
    assert len(seen) > 5
    assert set(seen) == {90}
    assert len(reader.lexical("twelve", 20)) == 12
    for store in (reader, builder):
        assert_same_answers(store, oracle)
        store.close()


def _lose(folder: Path, kind: str) -> None:
    """Take from Milvus Lite's list of files those of one collection, as the former list would."""
    (manifest,) = (folder / "collections").glob(f"*_{kind}/manifest.json")
    facts = json.loads(manifest.read_text())
    for listed in facts["partitions"].values():
        listed["data_files"] = []
    manifest.write_text(json.dumps({**facts, "current_seq": facts["current_seq"] - 1}))


@pytest.mark.parametrize("kind", ["assets", "segments7"])
def test_an_index_is_not_rebuilt_down_to_a_record_that_lost_rows(
    folder: Path, oracle: MemoryStore, kind: str
) -> None:
    _lose(folder, kind)
    for _ in range(2):
        store = opened(folder)
        assert store.count() == 90
        assert_same_answers(store, oracle)
        with pytest.raises(StoreError, match="has lost rows"):
            store.delete(["asset0-1"])
        with pytest.raises(StoreError, match="check --repair"):
            store.ping()
        store.close()
    store = opened(folder)
    findings = store.check(lambda *_: None)
    assert "lost_by_record" in findings.wrong
    store.repair(findings)
    assert store.check(lambda *_: None).wrong == {}
    store.ping()
    store.delete(["asset0-1"])
    oracle.delete(["asset0-1"])
    store.close()
    store = opened(folder)
    assert_same_answers(store, oracle)
    assert_level(store)
    store.close()


_KILLED = """
import os, signal, sys
from search.store.embedded import side, writing
from search.store.milvus.rows import MilvusRows
from search.store.milvus.store import MilvusStore
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, corpus
store = open_store(sys.argv[1], SPACE, DIM)
at = {"before the record": (MilvusStore, "write"), "before the index": (side.Side, "put"),
      "before the files": (MilvusRows, "flush"), "in the index": (writing, "_put_assets"),
      "before the deletion": (MilvusStore, "delete"),
      "before it is forgotten": (side.Side, "remove"), "before the commit": (side.Side, "_level")}
owner, name = at[sys.argv[2]]
setattr(owner, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
assets, segments = corpus(6, seed=1)
store.write(assets, segments)
store.delete(["asset0-1"])
"""


def kill_at(place: str, folder: Path) -> None:
    words = [sys.executable, "-c", _KILLED, str(folder), place]
    assert subprocess.run(words, cwd=ROOT, timeout=120).returncode == -signal.SIGKILL


@pytest.mark.slow
def test_what_lay_in_a_log_alone_is_mended_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next opener of the folder, even if it only reads; Lite then keeps it in files."""
    kill_at("before the files", folder)
    opened(folder).close()
    monkeypatch.setattr(side.Side, "rebuild", lambda _: pytest.fail("made again"))
    store = opened(folder)
    assert not store.sizes()  # no commit row had been written
    assert_level(store)
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    ["before the record", "before the files", "before the index", "in the index",
     "before the commit", "before the deletion", "before it is forgotten"],
)  # fmt: skip
def test_a_writer_killed_at_any_step_leaves_both_level(
    folder: Path, oracle: MemoryStore, place: str
) -> None:
    kill_at(place, folder)
    store = opened(folder)
    assert_level(store)
    oracle.write(*corpus(6, seed=1))
    oracle.delete(["asset0-1"])
    store.write(*corpus(6, seed=1))
    store.delete(["asset0-1"])
    assert_same_answers(store, oracle)
    store.close()


def test_deleted_rows_are_given_up_in_time(folder: Path, oracle: MemoryStore) -> None:
    store = opened(folder)
    before = {path.name for path in folder.rglob("*.rows")}
    ids = [f"asset0-{number}" for number in range(80)]
    for one in (store, oracle):
        one.delete(ids)
    assert {path.name for path in folder.rglob("*.rows")} - before
    assert_same_answers(store, oracle)
    assert len(store.lexical("twelve", 20)) == 12
    for one in (store, oracle):
        one.write(*corpus(80, seed=2))
        one.delete([f"asset2-{number}" for number in range(80)])
    assert before - {path.name for path in folder.rglob("*.rows")}, "nothing was swept"
    assert_same_answers(store, oracle)
    store.close()
    assert_same_answers(opened(folder), oracle)
