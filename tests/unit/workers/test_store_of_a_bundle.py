"""A store that one bundle made, where another is the default."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

import pytest

from encoder.errors import ModelError
from encoder.models import spaces
from encoder.models.sources.bundle import declaration
from encoder.models.spaces import describe
from encoder.types import TEXT, Item
from search import Query, SearchEngine
from search.errors import SpaceMismatchError
from search.store.open import stored_spaces
from workers.environment import Options, begin
from workers.pipeline.ingest_job import IngestJob
from workers.serving import resources

MADE_BY_ENGLISH = "7cab0ef472047da8"


@pytest.fixture
def store(bundle_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store with one text, made with ``bundle:english``; then another bundle is the default."""
    assert bundle_home.is_dir()
    folder, note = tmp_path / "store", tmp_path / "note.txt"
    note.write_text("The ferry leaves at nine.")
    monkeypatch.setenv("ANYMODAL_STORE", str(folder))
    resources.close()
    report = IngestJob(resources.shared_encoder(), resources.shared_store()).run([str(note)])
    assert report.ingested == 1
    resources.close()

    bundles = tmp_path / "bundles"
    bundles.mkdir()
    english = declaration._BUNDLES / "english.toml"
    copyfile(english, bundles / "english.toml")
    other = english.read_text("utf-8").replace('"default-v1"', '"other"').replace("= 3", "= 4")
    (bundles / "other.toml").write_text(other, "utf-8")
    monkeypatch.setattr(declaration, "_BUNDLES", bundles)
    for module in (declaration, spaces):
        monkeypatch.setattr(module, "DEFAULT", "other")
    begin(Options())
    yield folder
    resources.close()


def test_it_is_searched_with_the_bundle_that_made_it(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANYMODAL_ENCODER__MODEL")

    assert stored_spaces(str(store)) == [MADE_BY_ENGLISH]
    held = resources.existing_store()
    encoder = resources.shared_encoder()
    engine = SearchEngine(encoder, held)
    (hit,) = engine.search(Query([Item(TEXT, "a boat departs")])).hits
    engine.close()
    assert encoder.model == "bundle:english"
    assert hit.asset_id in held.assets([hit.asset_id])


def test_a_store_of_nobody_is_the_default_bundles(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.is_dir()
    monkeypatch.setenv("ANYMODAL_STORE", str(tmp_path / "new"))
    monkeypatch.setenv("ANYMODAL_ENCODER__MODEL", "bundle:default")

    with pytest.raises(ModelError, match="anymodal bundle fetch other"):
        resources.shared_encoder()


def test_a_bundle_that_is_named_is_refused_with_the_one_that_made_it(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.is_dir()
    monkeypatch.setenv("ANYMODAL_ENCODER__QUANTIZATION", "none")

    made = rf"{MADE_BY_ENGLISH} \(bundle:english, int8, enable_dsre\)"
    with pytest.raises(SpaceMismatchError, match=rf"{made}.*bundle:english, float32.*--model"):
        resources.existing_store()


def test_a_space_of_no_bundle_is_only_its_fingerprint() -> None:
    assert describe("0123456789abcdef") == "0123456789abcdef"
