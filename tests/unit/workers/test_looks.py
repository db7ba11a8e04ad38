"""Photos stored before there were looks get theirs without being encoded again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from encoder import MultiModalEncoder
from encoder.media.look import LOOK
from ingest import IngestConfig
from search.store.memory import MemoryStore
from tests.support.media import picture
from workers.library.copying import Copier
from workers.library.looks import add_looks
from workers.pipeline import IngestPipeline


@pytest.fixture(scope="module")
def encoder(bundle_home: Path) -> MultiModalEncoder:
    assert bundle_home.is_dir()
    return MultiModalEncoder()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A photo with a copy, one in an archive, two that get lost, a page and a note."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(("copied", "copy", "packed", "gone", "changed")):
        Image.fromarray(picture(seed=max(0, seed - 1))).save(folder / f"{name}.png")
    with ZipFile(folder / "all.zip", "w") as archive:
        archive.write(folder / "packed.png", "packed.png")
    (folder / "packed.png").unlink()
    Image.new("RGB", (300, 400), "white").save(folder / "page.png")
    (folder / "note.txt").write_text("A note about the harvest.")
    return folder


def stored_before_looks(encoder: MultiModalEncoder, folder: Path) -> IngestPipeline:
    """A pipeline over a store of the folder, as an earlier version filled it."""
    pipeline = IngestPipeline(encoder, MemoryStore(encoder.embed_dim), IngestConfig(isolate=False))
    report = pipeline.run([str(folder)], labels={"tags": ["sea"]})
    assert not report.failures
    return pipeline


def looks_by_name(pipeline: IngestPipeline) -> dict[str, object]:
    return {Path(row.locations[0]).stem: row.metadata.get(LOOK) for row in pipeline.store.scan()}


def drop_looks(pipeline: IngestPipeline) -> None:
    rows = [
        replace(row, metadata={k: v for k, v in row.metadata.items() if k != LOOK})
        for row in pipeline.store.scan()
    ]
    pipeline.store.write(rows, [])


def test_looks_come_from_the_files_that_still_hold_the_photo(
    encoder: MultiModalEncoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = stored_before_looks(encoder, photos)
    whole = looks_by_name(pipeline)
    drop_looks(pipeline)
    before = {row.asset_id: row for row in pipeline.store.scan()}
    (photos / "copied.png").unlink()  # its copy is still there
    (photos / "gone.png").unlink()
    Image.fromarray(picture(seed=99)).save(photos / "changed.png")
    monkeypatch.setattr(MultiModalEncoder, "encode_rows", None)  # nothing is encoded
    seen = list[tuple[int, int]]()
    assert add_looks(pipeline, lambda *counts: seen.append(counts)) == 2
    assert seen[-1] == (len(before), len(before))
    found = looks_by_name(pipeline)
    lost = {"gone", "changed", "page", "note"}
    assert found == whole | dict.fromkeys(lost)
    assert all(whole[name] for name in set(whole) - {"page", "note"})
    for row in pipeline.store.scan():
        metadata = {k: v for k, v in row.metadata.items() if k != LOOK}
        assert replace(row, metadata=metadata) == before[row.asset_id]
    assert add_looks(pipeline, lambda *_: None) == 0


def test_a_move_to_another_model_keeps_the_looks_that_it_finds(
    encoder: MultiModalEncoder, photos: Path
) -> None:
    old = stored_before_looks(encoder, photos)
    whole = looks_by_name(old)
    drop_looks(old)
    new = replace(old, store=MemoryStore(encoder.embed_dim))
    Copier(old.store, new, check=lambda: None).add()
    assert looks_by_name(new) == whole
    assert all(row.metadata["tags"] == ["sea"] for row in new.store.scan())
