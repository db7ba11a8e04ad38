"""Damage to any file of a store in a folder: right answers or a clear error, never fewer hits."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from encoder.errors import AnymodalError
from encoder.types import TEXT
from search.store.embedded import side, writing
from search.store.embedded import vector_files as files
from search.store.embedded.store import EmbeddedStore
from search.store.memory import MemoryStore
from tests.contract.rows import (
    CALIBRATION,
    DIM,
    assert_same_answers,
    asset,
    corpus,
    opened,
    segment,
    vectors,
)

FILES = [
    "current.json",
    "side/*/current",
    "side/*/*/tables.db",
    *(f"side/*/*/vectors/*.{suffix}" for suffix in ("rows", "slots", "codes", "scales", "nibbles")),
    *(f"side/*/*/{index}/meta.json" for index in ("words", "names")),
    *(f"side/*/*/{index}/*.{suffix}" for index in ("words", "names")
      for suffix in ("idx", "store", "term", "fieldnorm")),
    *(f"collections/*_{kind}/{file}" for kind in ("assets", "segments7")
      for file in ("manifest.json", "schema.json", "partitions/*/data/*.parquet")),
]  # fmt: skip


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
    *("current.json", "side/*/current", "side/*/*/tables.db", "side/*/*/vectors/*.rows"),
    *("side/*/*/words/meta.json", "side/*/*/words/*.idx", "collections/*_assets/manifest.json"),
    "collections/*_segments7/partitions/*/data/*.parquet",
}
"""One of each format; of the others, each is damaged in one way."""


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (files, side, writing):
        monkeypatch.setattr(module, "CHUNK", 32)
    monkeypatch.setattr(files, "STEP", 8)
    monkeypatch.setattr(files, "_FEW", 8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, MemoryStore]]:
    folder, oracle = tmp_path_factory.mktemp("whole") / "store", MemoryStore(DIM, CALIBRATION)
    with pytest.MonkeyPatch.context() as patch:
        for module in (files, side, writing):
            patch.setattr(module, "CHUNK", 32)
        store = opened(folder)
        words = [segment("words", n, row, TEXT, snippet=f"number {n} of twelve")
                 for n, row in enumerate(vectors(12, seed=5))]  # fmt: skip
        for one in (store, oracle):
            one.write(*corpus(90))
            one.write([asset("words", "/w", modality=TEXT, n_segments=12)], words)
        store.lexical("twelve", 20)
        store.read_names(lambda: False)
        store.close()
    yield folder, oracle
    oracle.close()


def _assert_right(store: EmbeddedStore, oracle: MemoryStore) -> None:
    assert_same_answers(store, oracle)
    assert store.count() == oracle.count()
    assert list(store.scan()) == list(oracle.scan())
    assert len(store.lexical("twelve", 50)) == 12
    store.read_names(lambda: False)
    assert len(store.named("data", 200)) == oracle.count() - 1


def _use(folder: Path, oracle: MemoryStore) -> None:
    """Open, ask, write and ask; once more in the next process, which may rebuild."""
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
    is_rebuilt = pattern.startswith("side/")  # from the record
    with nullcontext() if is_rebuilt else suppress(AnymodalError):
        _use(folder, oracle)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["zeroed", "removed"])
@pytest.mark.parametrize("kind", ["assets", "segments7"])
def test_a_check_sees_a_damaged_record(
    whole: tuple[Path, MemoryStore], tmp_path: Path, kind: str, damage: str
) -> None:
    """Searches do not: the index answers them."""
    folder, oracle = tmp_path / "store", whole[1]
    shutil.copytree(whole[0], folder)
    for path in folder.glob(f"collections/*_{kind}/partitions/*/data/*.parquet"):
        DAMAGE[damage](path)
    store = opened(folder)
    _assert_right(store, oracle)
    if damage == "removed":
        assert "lost_by_record" in store.check(lambda *_: None).wrong
    else:
        with pytest.raises(AnymodalError, match="store export"):
            store.check(lambda *_: None)
    _assert_right(store, oracle)
    store.close()
