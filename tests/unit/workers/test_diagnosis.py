"""`anymodal doctor` decodes a file of each kind, and says which ones a library does not read."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from encoder.binding.binding import Binding, FeatureOrigin
from encoder.binding.ridge import LinearMap
from encoder.config import EncoderConfig
from encoder.errors import AnymodalError, InputError, MediaError
from encoder.models.bundle.model import bundle_of
from encoder.space import Calibration
from encoder.types import AUDIO
from ingest.config import IngestConfig
from ingest.kinds.registry import kind_of, names
from ingest.sources.identity import identify
from search.api.responses.thumbnails import Thumbnails
from search.errors import ReadOnlyStoreError, StoreGoneError, StoreUnavailableError
from search.types import AssetRow
from workers.cli.doctor import _SAMPLES, Diagnosis, _kinds, _look, _services
from workers.config import Settings, current_settings
from workers.pipeline.retry import may_heal
from workers.serving import resources
from workers.serving.composition import sweeping
from workers.serving.resources import Resources


def kinds() -> Diagnosis:
    return _look("kinds", _kinds, Resources(current_settings()))


def test_every_kind_has_a_file(tmp_path: Path) -> None:
    with ZipFile(_SAMPLES) as samples:
        samples.extractall(tmp_path)
    read = {kind_of(identify(path, IngestConfig()).media_type).name for path in tmp_path.iterdir()}
    assert read == set(names())


def test_what_is_installed_decodes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_INGEST__KINDS", '["pdf"]')  # say nothing about libraries
    monkeypatch.setenv("ANYMODAL_INGEST__ROOTS", '["/media"]')
    assert kinds().ok


def test_a_library_that_changed_is_named_by_the_files_that_it_no_longer_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import av

    def newer(*_: Any, **options: Any) -> None:
        raise TypeError(f"open() got an unexpected keyword argument {sorted(options)[0]!r}")

    monkeypatch.setattr(av, "open", newer)
    finding = kinds()
    assert not finding.ok
    for name in ("sample.mp4", "sample.m4a", "sample.flac"):
        assert name in finding.text
    assert "sample.png" not in finding.text


@pytest.mark.slow
@pytest.mark.usefixtures("bundle_home")
def test_what_gives_text_is_told_and_what_the_model_cannot_find() -> None:
    encoder = EncoderConfig(model="bundle:english")
    finding = _look("services", _services, Resources(Settings(encoder=encoder)))
    assert (finding.facts["reads"], finding.facts["hears"]) == (False, True)
    assert len(finding.facts["limits"]) == 1
    without = Resources(Settings(encoder=encoder, read_pictures=False))
    assert _services(without)[1]["limits"] == []


ENGLISH, MULTILINGUAL = "bundle:english", "bundle:multilingual"


def fingerprint(bundle: str) -> str:
    from encoder.models.bundle.declaration import read_bundle
    from encoder.models.bundle.model import space_of

    return space_of(read_bundle(bundle.partition(":")[2]), "auto").fingerprint


@pytest.mark.parametrize("bundle", [ENGLISH, MULTILINGUAL])
def test_bindings_name_the_bundle_of_their_space(tmp_path: Path, bundle: str) -> None:
    linear = LinearMap(np.zeros(4, np.float32), np.zeros((4, 384), np.float32))
    origin = FeatureOrigin("hf:org/clap", "b" * 16)
    bound = Binding(AUDIO, fingerprint(bundle), origin, linear, Calibration(), {})
    bound.write(tmp_path / "sounds.npz")
    config = EncoderConfig(model="bundle:default", bindings=(tmp_path / "sounds.npz",))
    assert bundle_of({bound.space}, "auto") == bundle
    assert resources._model_of(config, "memory:") == bundle


GONE = "ab" * 16


@pytest.fixture
def thumbnails(tmp_path: Path) -> Thumbnails:
    (tmp_path / "ab" / GONE).mkdir(parents=True)
    return Thumbnails(tmp_path, 1000)


def test_a_start_does_not_wait_for_it(thumbnails: Thumbnails) -> None:
    asked, let = Event(), Event()

    def stored(asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        assert list(asset_ids) == [GONE]
        asked.set()
        assert let.wait(60)
        return {}

    with sweeping(thumbnails, stored):
        assert asked.wait(60)
        assert (thumbnails.folder / "ab" / GONE).exists()
        let.set()
    assert not (thumbnails.folder / "ab" / GONE).exists()


def test_a_store_that_is_away_does_no_harm(
    thumbnails: Thumbnails, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Event()

    def stored(_: Sequence[str]) -> dict[str, AssetRow]:
        asked.set()
        raise AnymodalError("The store is away.")

    with caplog.at_level(logging.WARNING), sweeping(thumbnails, stored):
        assert asked.wait(60)
    assert "stay until the next start: The store is away." in caplog.text


def test_only_what_may_heal_is_tried_again() -> None:
    assert may_heal(StoreUnavailableError("away"))
    assert not may_heal(MediaError("corrupt"))
    assert not may_heal(ReadOnlyStoreError("may not be written to"))
    assert not may_heal(StoreGoneError.at("/removed"))
    assert not may_heal(ValueError("a bug"))


def test_errors_survive_the_way_between_processes() -> None:
    for error in (InputError("a", got="b", wanted="c"), MediaError("broken.", "Mend it.")):
        again = pickle.loads(pickle.dumps(error))
        assert str(again) == str(error)
        assert type(again) is type(error)
