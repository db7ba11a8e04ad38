"""The gate over a folder of files: what it finds, and what it must not let pass."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoder.types import TEXT
from ingest import IngestConfig, Segment, ingest
from ingest.kinds.plain import Plain
from scripts.quote_results import PAGES, all_results, filled
from tests import corpus
from tests.support import documents
from tests.support.media import write_pdf
from tests.written import WORDS as READ
from tests.written import WRITTEN

WORDS = "The ferry leaves the harbour at nine, and comes back before midnight"


def test_a_folder_of_good_files_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    sections = [("Ferries", WORDS)]
    documents.write_docx(folder / "a.docx", sections)
    documents.write_xlsx(folder / "a.xlsx", sections)
    documents.write_pptx(folder / "a.pptx", sections)
    write_pdf(folder / "a.pdf", [WORDS])
    (folder / "b.exe").write_bytes(b"MZ\x90\0" + bytes(99))
    outcomes = tmp_path / "outcomes.json"
    monkeypatch.setattr("sys.argv", ["corpus", str(folder), "--json", str(outcomes)])
    assert corpus.main() == 0
    states = {one["file"]: one["state"] for one in json.loads(outcomes.read_text())}
    assert states.pop("b.exe") == corpus.ASIDE
    assert set(states.values()) == {corpus.FOUND}
    assert "100.0% together" in capsys.readouterr().out


def test_what_a_kind_loses_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the decks whose text was dropped: only what another program reads shows that."""
    path = documents.write_pptx(tmp_path / "a.pptx", [("Ferries", WORDS)])

    def nothing(*_: object, **__: object) -> list[Segment]:
        return [Segment("a" * 32, Plain.modality, 0, "a")]

    monkeypatch.setattr(corpus, "ingest", nothing)
    assert corpus.judge(path, "a.pptx", IngestConfig()).state == corpus.LOST


_ASIDE = {
    "plain.7z": "is a 7z archive",
    "locked.zip": "is encrypted",
    "deflate64.zip": "a method that is not supported",
    "ppmd.zip": "a method that is not supported",
    "photo.pcx": "cannot be decoded as a picture",
}


@pytest.mark.parametrize("path", sorted({*WRITTEN.iterdir()} - {READ}), ids=lambda path: path.name)
def test_what_other_programs_write_is_found_or_set_aside(path: Path) -> None:
    """Documents by another program's words, archives by a member's, pictures by their pixels."""
    outcome = corpus.judge(path, path.name, IngestConfig())
    if path.name in _ASIDE:
        assert outcome.state == corpus.ASIDE
        assert _ASIDE[path.name] in outcome.why
        return
    assert (outcome.state, outcome.why) == (corpus.FOUND, "")
    segments = list(ingest(path, IngestConfig()))
    if path.stem.startswith("photo"):
        assert np.abs(_pixels(segments[0].content) - _pixels(WRITTEN / "photo.png")).mean() < 8
        return
    stored = corpus.words(" ".join(str(s.content) for s in segments if s.modality == TEXT))
    assert set(json.loads(READ.read_text("utf-8"))[path.name]) - stored == set()


def _pixels(picture: Path | np.ndarray) -> np.ndarray:
    with Image.open(picture) if isinstance(picture, Path) else Image.fromarray(picture) as image:
        return np.asarray(image.convert("RGB").resize((24, 16)), np.float32)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_the_figures_of_the_results(page: object) -> None:
    text = page.read_text()  # type: ignore[attr-defined]
    assert len(re.findall("<!--q ", text)) == len(re.findall("<!--/q-->", text)) >= 20
    assert filled(text, all_results()) == text, "run `python -m scripts.quote_results`"
