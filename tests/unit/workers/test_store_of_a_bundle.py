"""A store that one bundle made, where another is the default."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from encoder.errors import ModelError
from encoder.models.bundle.model import describe
from encoder.system.environment import begin
from encoder.types import TEXT, Item
from search import Query, SearchEngine
from search.errors import SpaceMismatchError
from tests.contract.rows import stored_spaces
from workers.config import current_settings
from workers.pipeline.ingest_job import IngestJob
from workers.serving.resources import Resources

MADE_BY_ENGLISH = "00798be2f916cd24"


def resources() -> closing[Resources]:
    """The resources of a new process."""
    return closing(Resources(current_settings()))


@pytest.fixture
def store(bundle_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with one text, made with ``bundle:english``; then no model is named."""
    assert bundle_home.is_dir()
    uri = str(tmp_path / "store")
    note = tmp_path / "note.txt"
    note.write_text("The ferry leaves at nine.")
    monkeypatch.setenv("ANYMODAL_STORE", uri)
    with resources() as held:
        assert IngestJob(held.encoder(), held.store()).run([str(note)]).ingested == 1
    monkeypatch.delenv("ANYMODAL_ENCODER__MODEL")
    begin({})  # another process, which has yet to read its settings
    return uri


def test_it_is_searched_with_the_bundle_that_made_it(store: str) -> None:
    assert MADE_BY_ENGLISH in stored_spaces(store)
    with resources() as held:
        engine = SearchEngine(held.encoder(), held.existing_store())
        hits = engine.search(Query([Item(TEXT, "a boat departs")])).hits
        engine.close()
        assert held.encoder().model == "bundle:english"
    assert [hit.snippet for hit in hits] == ["The ferry leaves at nine."]


@pytest.mark.parametrize("store", ["lite"], indirect=True)
def test_the_bundle_that_is_the_default_is_refused_if_it_is_named(
    store: str, monkeypatch: pytest.MonkeyPatch, multilingual_home: Path
) -> None:
    assert store
    assert multilingual_home.is_dir()
    monkeypatch.setenv("ANYMODAL_ENCODER__MODEL", "bundle:multilingual")

    made = rf"{MADE_BY_ENGLISH} \(bundle:english, int8\)"
    with (
        resources() as held,
        pytest.raises(SpaceMismatchError, match=rf"{made}.*bundle:multilingual, int8.*--model"),
    ):
        held.existing_store()


@pytest.mark.parametrize("store", ["lite"], indirect=True)
def test_a_setting_that_the_store_contradicts_is_refused_and_named(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store
    monkeypatch.setenv("ANYMODAL_ENCODER__MODEL", "bundle:english")
    monkeypatch.setenv("ANYMODAL_ENCODER__QUANTIZATION", "none")

    with (
        resources() as held,
        pytest.raises(SpaceMismatchError, match=r"'auto'.*out ANYMODAL_ENCODER__QUANTIZATION"),
    ):
        held.existing_store()


def test_a_store_of_nobody_is_the_default_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANYMODAL_ENCODER__MODEL")
    monkeypatch.setenv("ANYMODAL_STORE", str(tmp_path / "new"))
    monkeypatch.setenv("ANYMODAL_HOME", str(tmp_path / "home"))
    with resources() as held, pytest.raises(ModelError, match="bundle fetch multilingual"):
        held.encoder()


def test_a_space_of_no_bundle_is_only_its_fingerprint() -> None:
    assert describe("0123456789abcdef") == "0123456789abcdef"
