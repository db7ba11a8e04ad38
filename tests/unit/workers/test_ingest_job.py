"""Ingesting a shard, free of Celery, on a store in memory."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from threading import Barrier
from zipfile import ZipFile

import pytest
from PIL import Image

from encoder import MultiModalEncoder
from encoder.errors import InputError
from encoder.types import TEXT, Embeddings, Item
from search.errors import StoreError, StoreUnavailableError
from search.filters import Filter
from search.store.memory import MemoryStore
from search.types import GONE_SINCE, AssetRow, SegmentRow
from tests.support.media import write_film
from workers.pipeline.commit_rows import remove
from workers.pipeline.ingest_job import IngestJob
from workers.pipeline.retry import may_heal


@pytest.fixture
def store(encoder: MultiModalEncoder) -> MemoryStore:
    return MemoryStore(encoder.embed_dim)


@pytest.fixture
def job(encoder: MultiModalEncoder, store: MemoryStore) -> IngestJob:
    return IngestJob(encoder, store)


def write(folder: Path, **texts: str) -> list[str]:
    paths = []
    for name, text in texts.items():
        path = folder / f"{name}.txt"
        path.write_text(text)
        paths.append(str(path))
    return paths


def locations(store: MemoryStore) -> list[str]:
    return sorted(Path(uri).name for row in store.scan() for uri in row.locations)


class Changing(MemoryStore):
    """A store whose user changes a file as its content is looked up, which has been hashed."""

    change: Callable[[], object] = bool

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        self.change()
        return super().assets(asset_ids)


@pytest.mark.parametrize("moment", ["before its header is read", "before it is decoded"])
def test_a_file_that_changes_while_it_is_read_is_not_stored_as_what_it_was(
    encoder: MultiModalEncoder, tmp_path: Path, moment: str
) -> None:
    store = Changing(encoder.embed_dim)
    job = IngestJob(encoder, store)
    path, other = write(tmp_path, a="the harbour at dawn", b="a loaf")

    def change(*_: object) -> set[str]:
        Path(path).write_text("bread with seeds")
        store.change = bool
        return set()

    if moment == "before its header is read":
        store.change = change
        report = job.run([path, other])
    else:
        report = job.run([path, other], begun=change)
    assert [failure.uri for failure in report.failures] == [path]
    assert locations(store) == ["b.txt"]
    assert job.run([path, other]).ingested == 1
    snippets = {
        segment.snippet for row in store.scan() for segment in store.embeddings(row.asset_id)
    }
    assert snippets == {"bread with seeds", "a loaf"}


def test_a_long_text_has_several_segments_and_one_commit_row(
    job: IngestJob, store: MemoryStore, tmp_path: Path
) -> None:
    report = job.run(write(tmp_path, long="The sea was calm that day. " * 200))
    (row,) = store.scan()
    assert row.n_segments == report.segments["text"] > 3


def test_what_is_known_of_a_file_is_stored_with_its_types(
    job: IngestJob, store: MemoryStore, tmp_path: Path
) -> None:
    (path,) = write(tmp_path, a="Die Kinder bauen eine Burg aus Sand, und der Hund schaut zu.")
    picture = tmp_path / "red.png"
    Image.new("RGB", (400, 300), "red").save(picture)
    job.run([path, str(picture)])
    rows = {row.metadata["title"]: row.metadata for row in store.scan()}
    assert rows["a"]["language"] == "de"
    assert (rows["red"]["width"], rows["red"]["height"]) == (400, 300)
    assert "language" not in rows["red"]
    assert (rows["red"]["colour"], rows["a"].get("colour")) == ("#ff0000", None)

    os.utime(path, (2e9, 2e9))  # touched: nothing is encoded again, and the row has the new time
    report = job.run([path])
    assert (report.unchanged, report.segments.total()) == (1, 0)
    assert {row.metadata["title"]: row.metadata["modified"] for row in store.scan()}["a"] == 2e9


def test_a_changed_file_replaces_what_it_held(
    job: IngestJob, store: MemoryStore, tmp_path: Path
) -> None:
    paths = write(tmp_path, a="About cats.", b="About dogs.")
    job.run(paths)
    write(tmp_path, a="About ships.")
    job.run(paths)
    assert locations(store) == ["a.txt", "b.txt"]
    query = job.encoder.encode_multimodal(text=["cats"])["text"]
    snippets = {hit.snippet for hit in store.search(query, [TEXT], 10)[0]}
    assert snippets == {"About ships.", "About dogs."}


def test_copies_are_one_asset_that_lives_while_one_is_left(
    job: IngestJob, store: MemoryStore, tmp_path: Path
) -> None:
    paths = write(tmp_path, a="Same.", b="Same.")
    report = job.run(paths)
    assert (report.ingested, report.segments["text"]) == (2, 1)
    assert len(list(store.scan())) == 1

    write(tmp_path, a="Other.")
    job.run(paths)
    assert locations(store) == ["a.txt", "b.txt"]
    write(tmp_path, b="Other.")
    job.run(paths)
    (row,) = store.scan()
    assert sorted(row.locations) == sorted(paths)


def empty_document() -> bytes:
    """Its header says what it is; that it is empty shows only when it is read."""
    file = BytesIO()
    with ZipFile(file, "w") as parts:
        parts.writestr("[Content_Types].xml", "<Types/>")
        parts.writestr("word/document.xml", "<w/>")
    return file.getvalue()


def test_all_copies_of_what_cannot_be_read_are_set_aside(job: IngestJob, tmp_path: Path) -> None:
    names = ["a.docx", "b.docx", "c.docx"]
    for name in names:
        (tmp_path / name).write_bytes(empty_document())

    report = job.run([str(tmp_path / name) for name in names])

    assert [Path(failure.uri).name for failure in report.failures] == names
    assert all(failure.uri in failure.reason for failure in report.failures)
    assert {failure.error for failure in report.failures} == {"UnsupportedMediaError"}


def test_what_fails_in_an_archive_is_named_by_its_place_there(
    job: IngestJob, tmp_path: Path
) -> None:
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/empty.docx", empty_document())

    (failure,) = job.run([str(tmp_path / "a.zip")]).failures

    assert failure.uri == f"{tmp_path}/a.zip!/in/empty.docx"
    assert failure.reason.startswith(failure.uri)


def test_a_bad_file_is_set_aside_and_its_neighbours_go_on(
    job: IngestJob, store: MemoryStore, tmp_path: Path
) -> None:
    Image.new("RGB", (400, 300), "red").save(tmp_path / "red.png")
    whole = (tmp_path / "red.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    names = ["red.png", "cut.png", "missing.txt"]
    report = job.run([*write(tmp_path, a="Fine."), *(str(tmp_path / n) for n in names)])
    assert {Path(f.uri).name for f in report.failures} == {"cut.png", "missing.txt"}
    assert locations(store) == ["a.txt", "red.png"]


def test_a_file_that_became_unreadable_keeps_what_it_held(
    job: IngestJob, store: MemoryStore, tmp_path: Path
) -> None:
    path = tmp_path / "red.png"
    Image.new("RGB", (400, 300), "red").save(path)
    job.run([str(path)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(job.run([str(path)]).failures) == 1
    assert locations(store) == ["red.png"]


class PickyEncoder(MultiModalEncoder):
    """Refuses texts that say so, as a tower may refuse what ingest let through."""

    def encode_rows(self, items: Sequence[Item]) -> list[Embeddings]:
        if any("refuse me" in str(item.content) for item in items):
            raise InputError("text", got="a text that asks for it", wanted="another")
        return super().encode_rows(items)


def test_an_item_that_cannot_be_encoded_harms_only_its_asset(
    store: MemoryStore, tmp_path: Path
) -> None:
    job = IngestJob(PickyEncoder(quantization=None, enable_dsre=False), store)
    report = job.run(write(tmp_path, a="One.", b="Please refuse me.", c="Three."))
    assert [Path(f.uri).name for f in report.failures] == ["b.txt"]
    assert locations(store) == ["a.txt", "c.txt"]


class DeadStore(MemoryStore):
    """A store that dies between the segments and the commit rows."""

    def write(self, assets: list[AssetRow], segments: list[SegmentRow]) -> None:  # type: ignore[override]
        super().write(assets[:0], segments)
        raise StoreUnavailableError("The store is away.")


def test_what_was_not_acknowledged_is_not_ingested(
    encoder: MultiModalEncoder, tmp_path: Path
) -> None:
    store = DeadStore(encoder.embed_dim)
    with pytest.raises(StoreUnavailableError):
        IngestJob(encoder, store).run(write(tmp_path, a="One."))
    assert list(store.scan()) == []


def test_content_that_another_deletes_meanwhile_is_not_half_there(
    encoder: MultiModalEncoder, store: MemoryStore, tmp_path: Path
) -> None:
    paths = write(tmp_path, a="One.")
    IngestJob(encoder, store).run(paths)
    os.utime(paths[0], (1, 1))  # else it is not looked at again

    held = store.locks
    another = list(store.assets([row.asset_id for row in store.scan()]))
    store.locks = replace(held, check=lambda: store.delete(another))
    with pytest.raises(StoreError, match=r"a\.txt.*deleted") as caught:
        IngestJob(encoder, store).run(paths)
    store.locks = held
    assert may_heal(caught.value)
    assert list(store.scan()) == []
    assert IngestJob(encoder, store).run(paths).ingested == 1


class Late(MemoryStore):
    """A store that shows what others wrote once it has caught up, as a server does."""

    former: dict[str, list[AssetRow]] | None = None

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        return super().assets_at(uris) if self.former is None else self.former

    def catch_up(self) -> None:
        self.former = None


def test_a_file_that_others_have_just_marked_as_gone_is_taken_up_again(
    encoder: MultiModalEncoder, tmp_path: Path
) -> None:
    store = Late(encoder.embed_dim)
    job = IngestJob(encoder, store)
    (path,) = write(tmp_path, a="the harbour at dawn")
    job.run([path])
    former = store.assets_at([path])
    (row,) = former[path]
    store.write([replace(row, metadata={**row.metadata, GONE_SINCE: 1.0})], [])
    store.former = former
    job.run([path])
    assert not next(store.scan()).is_gone


class Scanned(MemoryStore):
    """A store that others change once it has been looked through."""

    change: Callable[[], object] = bool

    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        rows = list(super().scan(filter))
        self.change()
        return iter(rows)


def test_what_moves_within_a_folder_while_that_is_removed_is_removed(
    encoder: MultiModalEncoder, tmp_path: Path
) -> None:
    store = Scanned(encoder.embed_dim)
    job = IngestJob(encoder, store)
    (path,) = write(tmp_path, a="the harbour at dawn")
    job.run([path])
    moved = Path(path).rename(tmp_path / "moved.txt")
    store.change = lambda: job.run([str(moved)])
    assert remove(store, str(tmp_path)) == 1
    assert store.count() == 0


class Meeting(MultiModalEncoder):
    """Begins only once two modalities are there at the same time."""

    def __init__(self) -> None:
        super().__init__(quantization=None, enable_dsre=False)
        self.begun: set[str] = set()
        self.both = Barrier(2, timeout=60)

    def encode_rows(self, items: Sequence[Item]) -> list[Embeddings]:
        modality = str(items[0].modality)
        if modality not in self.begun:
            self.begun.add(modality)
            self.both.wait()
        return super().encode_rows(items)


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_frames_and_sound_of_a_film_are_encoded_side_by_side(
    store: MemoryStore, tmp_path: Path
) -> None:
    film = write_film(tmp_path / "film.mp4")
    encoder = Meeting()
    report = IngestJob(encoder, store, transcripts=False).run([str(film)])
    assert encoder.begun == {"image", "audio"}
    assert report.failures == []
    assert set(report.segments) == {"image", "audio"}


def write_mail(path: Path, *names: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["Date"] = "a@example.org", "Fri, 03 May 2024 10:00:00 +0000"
    mail.set_content("The ferry leaves at nine.")
    for name in names:
        data = f"Words in {name}.".encode()
        mail.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    path.write_bytes(bytes(mail))


def inner_places(store: MemoryStore) -> list[str]:
    found = (uri for row in store.scan() for uri in row.locations)
    return sorted(Path(uri).name if "!/" not in uri else uri.rpartition("!/")[2] for uri in found)


def test_attachments_go_with_their_mail(job: IngestJob, store: MemoryStore, tmp_path: Path) -> None:
    old, new = tmp_path / "a.eml", tmp_path / "b.eml"
    write_mail(old, "x.txt", "y.txt")
    assert job.run([str(old)]).ingested == 3
    assert job.run([str(old)]).unchanged == 1  # not opened again
    old.rename(new)
    assert job.run([str(new)]).unchanged == 3
    assert {f"{new}!/x.txt", f"{new}!/y.txt"} <= {u for r in store.scan() for u in r.locations}
    write_mail(new, "y.txt")
    job.run([str(new)])
    assert inner_places(store).count("y.txt") == 2  # at the former name too, until that is pruned
    assert inner_places(store).count("x.txt") == 1


def test_attachments_are_of_kinds_of_their_own(
    job: IngestJob, store: MemoryStore, tmp_path: Path
) -> None:
    mail = tmp_path / "a.eml"
    write_mail(mail, "x.txt", "y.html")

    def of_kind(kind: str) -> tuple[int, int, int]:
        config = job.config.model_copy(update={"kinds": (kind,)})
        report = replace(job, config=config).run([str(mail)])
        return report.ingested, report.unchanged, report.left_out

    assert of_kind("eml") == (1, 0, 2)
    assert of_kind("text") == (2, 0, 1)
    assert of_kind("eml") == (0, 1, 2)
    assert inner_places(store) == ["a.eml", "x.txt", "y.html"]


def test_an_unreadable_upload_that_is_fetched_costs_no_other(
    encoder: MultiModalEncoder, store: MemoryStore
) -> None:
    far = {"/up/a.txt": b"Gulls.", "/up/b.png": b"\x89PNG\r\n\x1a\n" + bytes(40), "/up/c.txt": b""}

    def fetched(path: str, folder: Callable[[], Path]) -> Path:
        file = folder() / Path(path).name
        file.write_bytes(far[path])
        return file

    report = IngestJob(encoder, store, uploaded=fetched).run(list(far))
    assert (report.ingested, locations(store)) == (1, ["a.txt"])
    assert [failure.uri for failure in report.failures] == ["/up/b.png", "/up/c.txt"]
    assert all(failure.uri in failure.reason for failure in report.failures)
