"""`anymodal doctor` decodes a file of each kind, and says which ones a library does not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from encoder.config import EncoderConfig
from ingest.config import IngestConfig
from ingest.kinds.registry import kind_of, names
from ingest.sources.identity import identify
from workers.cli.doctor import _SAMPLES, Diagnosis, _kinds, _look, _services
from workers.config import Settings, current_settings
from workers.serving.resources import Resources


def kinds() -> Diagnosis:
    return _look("kinds", _kinds, Resources(current_settings()))


def test_every_kind_has_a_file(tmp_path: Path) -> None:
    with ZipFile(_SAMPLES) as samples:
        samples.extractall(tmp_path)
    read = {kind_of(identify(path, IngestConfig()).media_type).name for path in tmp_path.iterdir()}
    assert read == set(names())


def test_what_is_installed_decodes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_INGEST__KINDS", '["pdf"]')  # says nothing about libraries
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
