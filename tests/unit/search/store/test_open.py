from __future__ import annotations

from pathlib import Path

import pytest

from encoder.errors import InputError
from search.store.folders import default_folder
from search.store.memory import MemoryStore
from search.store.milvus.link import without_password
from search.store.open import open_store, store_target
from search.store.schema import (
    ASSETS,
    collection_name,
    segments_collection,
    stored_collections,
    words_collection,
)


def test_memory_needs_no_place() -> None:
    assert isinstance(open_store("memory:", "0123456789abcdef", 4), MemoryStore)


@pytest.mark.parametrize("uri", ["http://h:1", "https://me:pw@h/db", "tcp://h:19530"])
def test_a_server_keeps_its_uri(uri: str) -> None:
    assert store_target(uri) == uri


def test_a_path_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert store_target("db") == tmp_path / "db"
    assert store_target("~/db") == tmp_path / "home" / "db"
    assert store_target("~/x.db") == str(tmp_path / "home" / "x.db")  # of Milvus Lite


@pytest.mark.parametrize("uri", ["", "redis://host", "memory:x", "file:///x"])
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(InputError, match="store: got"):
        store_target(uri)


def test_the_default_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("ANYMODAL_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_folder() == Path("/home/me/.local/share/anymodal/store")
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    assert default_folder() == Path("/xdg/anymodal/store")
    monkeypatch.setenv("ANYMODAL_DATA", "/data")
    assert default_folder() == Path("/data/store")
    assert store_target(None) == Path("/data/store")


def test_collections_of_one_prefix_are_known_by_their_names() -> None:
    kinds = [segments_collection("aaaaaaaa"), words_collection("bbbbbbbb"), ASSETS]
    names = [collection_name(prefix, kind) for prefix in ("mine", "mine_too") for kind in kinds]
    stored = stored_collections([*names, "mine_current", "mine_current_aaaaaaaa"], "mine")
    assert {name: kind.space for name, kind in stored.items()} == {
        "mine_aaaaaaaa_segments": "aaaaaaaa",
        "mine_assets": None,
        "mine_bbbbbbbb_words": "bbbbbbbb",
    }
    assert stored[names[0]] == kinds[0]


@pytest.mark.parametrize(
    ("prefix", "fingerprint"), [("a-b", "aaaaaaaa"), ("", "aaaaaaaa"), ("a", "xyz"), ("a", "")]
)
def test_names_that_milvus_cannot_take_are_refused(prefix: str, fingerprint: str) -> None:
    with pytest.raises(InputError):
        collection_name(prefix, segments_collection(fingerprint))


def test_a_password_is_not_shown() -> None:
    assert without_password("http://me:p@ss@host:19530/db") == "http://host:19530/db"
