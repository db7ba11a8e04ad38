"""Photos stored before there were looks get theirs; sounds of an earlier model are heard again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from encoder import MultiModalEncoder
from encoder.media.look import LOOK
from encoder.types import AUDIO, VIDEO, Item
from ingest import IngestConfig
from search.store.memory import MemoryStore
from search.types import HEARD_BY, SegmentRow
from tests.support.media import picture, write_film, write_sound
from workers.beside.listing import counted
from workers.library.copying import Copier
from workers.library.renewing import renew
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
    renewed = renew(pipeline, lambda *counts: seen.append(counts))
    assert (renewed.n_photos, renewed.n_sounds, renewed.failures) == (2, 0, [])
    assert seen[-1] == (len(before), len(before))
    found = looks_by_name(pipeline)
    lost = {"gone", "changed", "page", "note"}
    assert found == whole | dict.fromkeys(lost)
    assert all(whole[name] for name in set(whole) - {"page", "note"})
    for row in pipeline.store.scan():
        metadata = {k: v for k, v in row.metadata.items() if k != LOOK}
        assert replace(row, metadata=metadata) == before[row.asset_id]
    assert renew(pipeline, lambda *_: None).n_photos == 0


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


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two sounds, one that gets lost, a film with sound, a photo and a note."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name, seconds in (("long.flac", 13.0), ("short.flac", 2.0), ("gone.flac", 3.0)):
        write_sound(folder / name, "flac", seconds)
    write_film(folder / "film.mp4")
    Image.fromarray(picture()).save(folder / "photo.png")
    (folder / "note.txt").write_text("A note about the harvest.")
    return folder


def heard_otherwise(pipeline: IngestPipeline) -> None:
    """Store the sounds as an earlier model would have: other vectors, one more window, no mark."""
    for row in list(pipeline.store.scan()):
        if row.modality in (AUDIO, VIDEO):
            segments = pipeline.store.embeddings(row.asset_id)
            heard = [s for s in segments if s.modality == AUDIO]
            old = [replace(s, embedding=-s.embedding) for s in heard]
            facts = {k: v for k, v in row.metadata.items() if k != HEARD_BY}
            pipeline.store.write([replace(row, metadata=facts)], old)


def rows_by_name(pipeline: IngestPipeline) -> dict[str, list[tuple[str, bytes]]]:
    def told(segment: SegmentRow) -> tuple[str, bytes]:
        return segment.key, segment.embedding.tobytes()

    return {
        Path(row.locations[0]).name: sorted(map(told, pipeline.store.embeddings(row.asset_id)))
        for row in pipeline.store.scan()
    }


def n_unheard(pipeline: IngestPipeline) -> int:
    identity = pipeline.encoder.lane(AUDIO).space.identities[AUDIO]
    return int(counted(pipeline.store, identity)["unheard"])


def test_sounds_alone_are_heard_again_by_the_model_of_today(
    encoder: MultiModalEncoder, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = stored_before_looks(encoder, sounds)
    today, rows_today = rows_by_name(pipeline), {r.asset_id: r for r in pipeline.store.scan()}
    assert n_unheard(pipeline) == 0
    heard_otherwise(pipeline)
    before = rows_by_name(pipeline)
    assert {name for name in today if before[name] != today[name]} == {
        *("long.flac", "short.flac", "gone.flac", "film.mp4")
    }
    assert n_unheard(pipeline) == 4
    (sounds / "gone.flac").unlink()
    encoded = list[Item]()
    encode_rows = MultiModalEncoder.encode_rows

    def noted(self: MultiModalEncoder, items: list[Item]) -> object:
        if encoded:
            raise KeyboardInterrupt  # after the first sound
        encoded.extend(items)
        return encode_rows(self, items)

    monkeypatch.setattr(MultiModalEncoder, "encode_rows", noted)
    with pytest.raises(KeyboardInterrupt):
        renew(pipeline, lambda *_: None)
    assert n_unheard(pipeline) == 3
    monkeypatch.setattr(MultiModalEncoder, "encode_rows", encode_rows)

    renewed = renew(pipeline, lambda *_: None)

    assert renewed.n_sounds == 2
    assert {item.modality for item in encoded} == {AUDIO}
    (failure,) = renewed.failures
    assert failure.uri.endswith("gone.flac")
    assert rows_by_name(pipeline) == {**today, "gone.flac": before["gone.flac"]}
    lost = {r.asset_id for r in pipeline.store.scan() if r.locations[0].endswith("gone.flac")}
    assert {r.asset_id: r for r in pipeline.store.scan() if r.asset_id not in lost} == {
        asset_id: row for asset_id, row in rows_today.items() if asset_id not in lost
    }
    assert n_unheard(pipeline) == 1
    assert not pipeline.run([str(sounds)]).ingested


def test_a_sound_that_was_cut_into_more_windows_stays_and_is_named(
    encoder: MultiModalEncoder, sounds: Path
) -> None:
    """To write it anew it would have to be deleted first: a kill in between would lose it."""
    pipeline = stored_before_looks(encoder, sounds)
    heard_otherwise(pipeline)
    row = next(r for r in pipeline.store.scan() if r.locations[0].endswith("short.flac"))
    (window, *_) = (s for s in pipeline.store.embeddings(row.asset_id) if s.modality == AUDIO)
    pipeline.store.write([row], [replace(window, segment_id="f" * 32, index=99)])
    before = rows_by_name(pipeline)["short.flac"]

    renewed = renew(pipeline, lambda *_: None)

    (failure,) = renewed.failures
    assert failure.uri.endswith("short.flac")
    assert "ingest it again" in failure.reason
    assert rows_by_name(pipeline)["short.flac"] == before
    assert n_unheard(pipeline) == 1
