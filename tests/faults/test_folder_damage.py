"""Damage to any file of a store in a folder: right answers or a clear error, never fewer hits."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from fnmatch import fnmatch
from itertools import cycle
from pathlib import Path

import pytest

from encoder.errors import AnymodalError
from encoder.types import TEXT
from search.errors import SpaceMismatchError, StoreError
from search.store.checking import DAMAGED_ROWS, LOST_COMMITS
from search.store.folder import vector_files as files
from search.store.folder import writing
from search.store.folder.codes import NibbleCodes
from search.store.folder.database import Database, set_fact
from search.store.folder.store import FolderStore
from search.store.memory import MemoryStore
from search.store.open import open_store
from tests.contract.rows import (
    CALIBRATION,
    DIM,
    SPACE,
    assert_same_answers,
    asset,
    corpus,
    opened,
    segment,
    vectors,
)

FILES = [
    "current.json",
    "content/store.db",
    "content/store.version",
    *(f"content/vectors/*.{suffix}" for suffix in ("rows", "slots", "nibbles")),
    *(f"content/{index}.*/meta.json" for index in ("words-*", "names")),
    *(f"content/{index}.*/*.{suffix}" for index in ("words-*", "names")
      for suffix in ("idx", "store", "term", "fieldnorm")),
]  # fmt: skip
DERIVED = ("*.nibbles", "*.version", "*/meta.json", "*.idx", "*.store", "*.term",
           "*.fieldnorm")  # fmt: skip
"""What is made again by itself."""


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 3, len(content), len(content) // 3 + 1):
        content[at] ^= 0x41
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped": _flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "removed": Path.unlink,
}


_IN_EACH_WAY = {
    *("current.json", "content/store.db", "content/vectors/*.rows", "content/vectors/*.slots"),
    *("content/words-*.*/meta.json", "content/words-*.*/*.idx", "content/store.version"),
}
"""One of each format; of the others, each is damaged in one way."""


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (files, writing):
        monkeypatch.setattr(module, "CHUNK", 32)
    monkeypatch.setattr(files, "STEP", 8)
    monkeypatch.setattr(files, "_FEW", 8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, MemoryStore]]:
    folder, oracle = tmp_path_factory.mktemp("whole") / "store", MemoryStore(DIM, CALIBRATION)
    with pytest.MonkeyPatch.context() as patch:
        for module in (files, writing):
            patch.setattr(module, "CHUNK", 32)
        turns = cycle([True, False])  # so that there are codes of both kinds
        patch.setattr(NibbleCodes, "finds_nearest", lambda *_: next(turns))
        store = opened(folder)
        words = [segment("words", n, row, TEXT, snippet=f"number {n} of twelve")
                 for n, row in enumerate(vectors(12, seed=5))]  # fmt: skip
        for one in (store, oracle):
            one.write(*corpus(90))
            one.write([asset("words", "/w", modality=TEXT, n_segments=12)], words)
        store._words.feed()
        store._names.feed()
        store.close()
    yield folder, oracle
    oracle.close()


def _assert_right(store: FolderStore, oracle: MemoryStore) -> None:
    assert_same_answers(store, oracle)
    assert store.count() == oracle.count()
    assert list(store.scan()) == list(oracle.scan())
    assert len(store.lexical("twelve", 50)) == 12
    store.read_names(lambda: False)
    assert len(store.named("data", 200)) == oracle.count() - 1


def _use(folder: Path, oracle: MemoryStore) -> None:
    """Open, ask, write and ask; once more in the next process, which finds what was made again."""
    for _ in range(2):
        store = opened(folder)
        try:
            _assert_right(store, oracle)
            with suppress(AnymodalError):
                (row, *_) = oracle.assets(["asset0-1"]).values()
                store.write([row], oracle.embeddings("asset0-1"))
            _assert_right(store, oracle)
        finally:
            store.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        (pattern, damage)
        for number, pattern in enumerate(FILES)
        for turn, damage in enumerate(DAMAGE)
        if pattern in _IN_EACH_WAY or turn == number % len(DAMAGE)
    ],
)
def test_damage_is_mended_or_said(
    whole: tuple[Path, MemoryStore], tmp_path: Path, pattern: str, damage: str
) -> None:
    folder, oracle = tmp_path / "store", whole[1]
    shutil.copytree(whole[0], folder)
    paths = list(folder.glob(pattern))
    assert paths
    for path in paths:
        DAMAGE[damage](path)
    is_derived = any(fnmatch(pattern, derived) for derived in DERIVED)
    with nullcontext() if is_derived else suppress(AnymodalError):
        _use(folder, oracle)


@pytest.mark.slow
def test_each_flipped_bit_is_mended_or_said(
    whole: tuple[Path, MemoryStore], tmp_path: Path
) -> None:
    """Of the database and the vectors, wherever it is."""
    chance = random.Random(0)
    for number in range(120):
        folder = tmp_path / str(number)
        shutil.copytree(whole[0], folder)
        paths = [*folder.glob("content/store.db"), *folder.glob("content/vectors/*.*s")]
        path = chance.choice([path for path in paths if path.stat().st_size])
        content = bytearray(path.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        with suppress(AnymodalError):
            _use(folder, whole[1])


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_log_loses_nothing_in_silence(tmp_path: Path, damage: str) -> None:
    """Copied while the store is open, as a killed process leaves it."""
    oracle, store = MemoryStore(DIM, CALIBRATION), opened(tmp_path / "open")
    for one in (store, oracle):
        for n in range(5):
            one.write(*corpus(20, seed=n))
    folder = tmp_path / "store"
    shutil.copytree(tmp_path / "open", folder)
    store.close()
    (log,) = folder.glob("content/store.db-wal")
    assert log.stat().st_size
    DAMAGE[damage](log)
    with suppress(AnymodalError):
        again = opened(folder)
        try:
            assert_same_answers(again, oracle)
            assert list(again.scan()) == list(oracle.scan())
        finally:
            again.close()
    oracle.close()


def test_lost_commits_are_told_given_up_and_read_again(tmp_path: Path) -> None:
    folder, before = tmp_path / "store", tmp_path / "before"
    store = opened(folder)
    store.write(*corpus(6))
    store.close()
    shutil.copytree(folder, before)
    store = opened(folder)
    store.write(*corpus(6, seed=1))
    store.close()
    (database,), (old,) = folder.glob("content/store.db"), before.glob("content/store.db")
    shutil.copyfile(old, database)
    store = opened(folder)
    with pytest.raises(StoreError, match="lacks its last 1 commits"):
        store.count()
    with pytest.raises(StoreError, match="check --repair"):
        store.write(*corpus(1, seed=2))
    findings = store.check(lambda *_: None)
    assert findings.wrong.keys() == {LOST_COMMITS}
    store.repair(findings)
    assert store.check(lambda *_: None).wrong == {}
    assert store.count() == 6
    store.write(*corpus(6, seed=1))
    store.close()
    store = opened(folder)
    assert store.count() == 12
    store.close()


def test_damaged_vectors_cost_their_assets_no_tags(tmp_path: Path) -> None:
    store = opened(folder := tmp_path / "store")
    assets, segments = corpus(12)
    store.write([replace(row, metadata={"tags": ["kept"]}) for row in assets], segments)
    store.close()
    for path in folder.glob("content/vectors/*.rows"):
        content = bytearray(path.read_bytes())
        content[0] ^= 1
        path.write_bytes(content)
    store = opened(folder)
    findings = store.check(lambda *_: None)
    damaged = findings.of(DAMAGED_ROWS)
    assert len(damaged) == 3  # the first of each modality
    store.repair(findings)
    assert store.check(lambda *_: None).wrong == {}
    rows = store.assets([row.asset_id for row in assets])
    assert all(row.metadata["tags"] == ["kept"] for row in rows.values())
    assert {asset_id for asset_id, row in rows.items() if not row.n_segments} == set(damaged)
    assert not store.embeddings(damaged[0])
    store.close()


def test_another_format_or_dimension_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    opened(folder).close()
    with pytest.raises(SpaceMismatchError, match=f"{DIM} numbers"):
        open_store(str(folder), SPACE, DIM + 1)
    (path,) = folder.glob("content/store.db")
    database = Database(path)
    with database.writing() as db:
        set_fact(db, "format", 99)
    database.close()
    with pytest.raises(StoreError, match=r"format 99.*[Ee]xport"):
        opened(folder)
