"""Files that change places and names: found where they are, encoded never, written once."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from PIL import Image

from encoder.types import IMAGE, TEXT
from ingest.config import IngestConfig
from ingest.sources import identity
from ingest.sources.objects import VERSIONS, ObjectFacts, version_of
from ingest.types import Asset
from search.errors import StoreUnavailableError
from search.store.base import VectorStore
from search.store.memory import MemoryStore
from search.store.open import open_store
from search.types import AssetRow, SegmentRow
from tests.faults.tiny_worker import DIM, TinyEncoder
from workers.pipeline import IngestPipeline, IngestReport, known
from workers.pipeline.commit_rows import Labels, commit_row
from workers.pipeline.ingest_job import IngestJob

if TYPE_CHECKING:
    from encoder import MultiModalEncoder

N = 6


class Counting(MemoryStore):
    """Counts commit rows, by write; fails at the first one if ``fails`` is set."""

    def __init__(self) -> None:
        super().__init__(DIM)
        self.written: list[int] = []
        self.fails = False

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        if self.fails:
            self.fails = False
            raise StoreUnavailableError("The store is away.")
        super().write(assets, segments)
        self.written.append(len(assets))


class Library:
    """Files ``0.txt``, ``1.txt``, … in a folder, each with its own content, ingested."""

    def __init__(self, store: VectorStore, root: Path) -> None:
        self.store, self.root = store, root
        encoder = cast("MultiModalEncoder", TinyEncoder())
        self.pipeline = IngestPipeline(encoder, store, IngestConfig())
        (root / "in").mkdir(parents=True)
        for number in range(N):
            # Of different lengths: contents of the same length and millisecond look alike.
            self.file(number).write_text(f"{root}{' a' * number} note {number}")
        assert self.ingest().ingested == N
        # Small shards: what changes places does so across them.
        self.pipeline = replace(self.pipeline, shard_files=1)

    def file(self, number: int) -> Path:
        return self.root / ("in" if number % 2 else ".") / f"{number}.txt"

    def ingest(self, prune: bool = True, **options: object) -> IngestReport:
        return self.pipeline.run([str(self.root)], prune=prune, **options)

    def places(self) -> dict[str, str]:
        """The content of each stored place in the folder, by its path in it."""
        below = f"{self.root}/"
        rows = [row for row in self.store.scan() for x in row.locations if x.startswith(below)]
        found = {}
        for row in rows:
            (segment,) = self.store.embeddings(row.asset_id)
            found |= {
                place.removeprefix(below): segment.snippet.rpartition(" ")[2]
                for place in row.locations
            }
        return found

    def check(self, *, dropped: int) -> None:
        """Ingest; nothing is encoded, and what is stored is what is there."""
        report = self.ingest()
        assert (report.ingested, report.failures) == (0, [])
        assert (report.gone["dropped"], report.gone["pruned"]) == (dropped, 0)
        files = [path for path in self.root.rglob("*") if path.is_file()]
        assert report.unchanged == len(files)
        assert self.places() == {
            str(path.relative_to(self.root)): path.read_text().rpartition(" ")[2] for path in files
        }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorStore]:
    encoder = TinyEncoder()
    folder = str(tmp_path_factory.mktemp("known") / "store")
    store = open_store(folder, encoder.space.fingerprint, DIM)
    yield store
    store.close()


@pytest.fixture
def library(store: VectorStore, tmp_path: Path) -> Library:
    return Library(store, tmp_path / "library")


def test_each_file_and_its_folder_are_renamed(library: Library) -> None:
    for number in range(N):
        library.file(number).rename(library.file(number).with_name(f"new {number}.txt"))
    (library.root / "in").rename(library.root / "out")
    library.check(dropped=N)
    library.check(dropped=0)


def test_a_folder_moves_into_another(library: Library) -> None:
    (library.root / "deep" / "er").mkdir(parents=True)
    (library.root / "in").rename(library.root / "deep" / "er" / "in")
    library.check(dropped=N // 2)


def test_names_are_swapped_and_shifted(library: Library) -> None:
    files = [library.file(number) for number in range(N)]
    kept = library.root / "kept"
    files[0].rename(kept)
    for free, file in pairwise(files):
        file.rename(free)
    kept.rename(files[-1])
    library.check(dropped=0)
    files[0].rename(kept)
    files[1].rename(files[0])
    kept.rename(files[1])
    library.check(dropped=0)


def test_a_copy_is_a_second_place(library: Library) -> None:
    copy = library.root / "in" / "copy.txt"
    copy.write_text(library.file(0).read_text())
    library.check(dropped=0)
    library.file(0).unlink()
    library.check(dropped=1)
    copy.rename(library.file(0))
    library.check(dropped=1)


def test_another_content_takes_the_place_of_one_that_moved_and_of_one_that_did_not(
    library: Library,
) -> None:
    library.file(0).rename(library.root / "z.txt")
    library.file(2).rename(library.file(0))
    library.file(1).write_text(library.file(4).read_text())
    library.check(dropped=1)  # 2.txt; what was in 1.txt is gone
    assert "1" not in library.places().values()


def test_a_content_that_moved_is_not_lost_to_a_new_one(library: Library) -> None:
    library.file(0).rename(library.root / "z.txt")
    library.file(0).write_text("A new 7")
    report = library.ingest()
    assert (report.ingested, report.unchanged) == (1, N)
    library.check(dropped=0)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Photo.txt", "photo.txt"),
        (unicodedata.normalize("NFC", "Übé.txt"), unicodedata.normalize("NFD", "Übé.txt")),
        ("a\nb 🙂.txt", "a\tb.txt"),
    ],
)
def test_names_that_look_alike_are_others(library: Library, name: str, other: str) -> None:
    library.file(0).rename(library.root / name)
    library.check(dropped=1)
    (library.root / name).rename(library.root / other)
    library.check(dropped=1)


def test_a_rename_is_one_commit_row_and_all_are_one_write(tmp_path: Path) -> None:
    store = Counting()
    library = Library(store, tmp_path / "library")
    store.written.clear()
    for number in range(N):
        library.file(number).rename(library.root / f"new-{number}.txt")
    library.check(dropped=N)
    assert store.written == [N]
    library.check(dropped=0)
    assert store.written == [N]


def test_parts_are_written_as_they_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_AT_ONCE", 2)
    monkeypatch.setattr(known, "MOST_FILES", 4)
    store = Counting()
    library = Library(store, tmp_path / "library")
    store.written.clear()
    (library.root / "in").rename(library.root / "out")
    (library.root / "b.txt").write_text("A new 8")
    report = library.ingest(labels={"tags": ["sea"]})
    assert (report.ingested, report.unchanged, report.gone["dropped"]) == (1, N, N // 2)
    assert sorted(store.written) == [1, 3, 3]  # of the first four files one is new
    assert {str(row.metadata["tags"]) for row in store.scan()} == {"['sea']"}


def test_a_store_that_fails_once_loses_nothing(tmp_path: Path) -> None:
    store = Counting()
    library = Library(store, tmp_path / "library")
    (library.root / "in").rename(library.root / "out")
    store.fails = True
    library.check(dropped=N // 2)


def test_a_new_file_is_hashed_once(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    content_hash = identity._content_hash
    monkeypatch.setattr(
        identity, "_content_hash", lambda file: hashed.append(file.name) or content_hash(file)
    )
    for name in ("x.txt", "y.txt"):
        (library.root / name).write_text(f"A new {name}")
    assert library.ingest().ingested == 2
    assert sorted(map(Path, hashed)) == [library.root / "x.txt", library.root / "y.txt"]
    assert library.pipeline.hashes == {}
    (library.root / "x.txt").write_text("Another 9")
    report = library.ingest()
    assert (report.ingested, report.unchanged, len(hashed)) == (1, N + 1, 3)
    assert "9" in library.places().values()


def test_a_file_that_changes_before_its_shard_is_hashed_again(library: Library) -> None:
    file = library.root / "x.txt"
    file.write_text(f"{file} 7")

    def change(report: IngestReport) -> None:
        if not report.ingested:  # the look at what is known
            file.write_text(f"{file} longer 88")

    assert library.ingest(on_report=change).ingested == 1
    assert "88" in library.places().values()
    assert library.pipeline.hashes == {}


def test_what_is_set_aside_is_said_once(library: Library) -> None:
    (library.root / "empty.txt").touch()
    report = library.ingest()
    assert [Path(failure.uri).name for failure in report.failures] == ["empty.txt"]
    assert report.unchanged == N
    report = library.ingest(kinds=["image"])
    assert (report.left_out, report.unchanged) == (N, 0)


def test_in_a_folder_in_doubt_former_places_stay(library: Library) -> None:
    library.file(0).rename(library.root / "z.txt")
    doubtful = library.root / "in" / ".anymodalignore"
    doubtful.write_bytes(b"\xff")
    assert library.ingest().gone == {}
    assert {"0.txt", "z.txt"} <= library.places().keys()
    doubtful.unlink()
    assert library.ingest().gone == {"dropped": 1}


def asset(uri: str, modified: float, **facts: str) -> Asset:
    metadata = {"title": uri.strip("/"), "modified": modified, **facts}
    return Asset("id", uri, TEXT, "text/plain", 5, metadata)


def row(
    *copies: Asset,
    current: AssetRow | None = None,
    language: str = "",
    labels: Labels | None = None,
) -> AssetRow:
    found: Labels = {"language": language} if language else {}
    return commit_row(copies, current, counts={TEXT: 2}, labels_found=found, labels=labels or {})


def test_a_new_content() -> None:
    made = row(asset("/a", 7.5), asset("/b", 6.5), language="en", labels={"tags": ["sea"]})
    assert (made.asset_id, made.n_segments, list(made.locations)) == ("id", 2, ["/a", "/b"])
    assert made.metadata == {"title": "a", "modified": 7.5, "language": "en", "tags": ["sea"]}


def test_the_latest_change_counts_in_any_order() -> None:
    first, second = asset("/a", 7.5), asset("/b", 9.0)
    for one, other in ((first, second), (second, first)):
        assert row(other, current=row(one)).metadata["modified"] == 9.0
    assert row(first, current=row(first)) == row(first)


def test_labels_replace_only_what_is_given() -> None:
    stored = row(asset("/a", 1.0), language="en", labels={"tags": ["old"], "year": 1999})
    again = row(asset("/a", 1.0), current=stored, labels={"tags": ["new"], "title": "Mine"})
    assert again.metadata == {
        "title": "Mine",
        "modified": 1.0,
        "language": "en",
        "tags": ["new"],
        "year": 1999,
    }
    assert row(asset("/a", 1.0), current=again) == again


def test_a_row_from_before_there_were_numbers() -> None:
    old = AssetRow(
        "id", TEXT, "text/plain", 5, {TEXT: 2}, ["/a"], {"title": "a", "duration_s": "2.000"}
    )
    assert row(asset("/a", 3.0), current=old).metadata["modified"] == 3.0


def test_the_version_of_each_object_is_the_last_and_goes_with_its_location() -> None:
    def held(key: str, tag: str) -> Asset:
        facts = ObjectFacts(f"s3://b/{key}", 5, 1.0, tag)
        stored = asset(facts.url, 1.0)
        return replace(stored, metadata={**stored.metadata, VERSIONS: [facts.version]})

    def versions(made: AssetRow) -> list[str]:
        return list(made.metadata[VERSIONS])

    both = row(held("a", "1"), held("c", "1"))
    assert len(set(versions(both))) == 2
    later = row(held("a", "2"), current=both)
    assert len(versions(later)) == 2
    assert version_of(versions(later), "s3://b/a") == versions(row(held("a", "2")))[0]
    assert version_of(versions(later), "s3://b/c") == version_of(versions(both), "s3://b/c")
    moved = replace(later, locations=["s3://b/c"])
    assert len(versions(row(held("c", "1"), current=moved))) == 1
    assert VERSIONS not in row(asset("/a", 1.0)).metadata


if TYPE_CHECKING:
    from encoder import MultiModalEncoder

N_PICTURES = 12


@pytest.fixture
def pictures(tmp_path: Path) -> MemoryStore:
    pictures = MemoryStore(DIM)
    for number in range(N_PICTURES):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(tmp_path / f"{number}.png")
    (tmp_path / "note.txt").write_text("A note.")
    job = IngestJob(cast("MultiModalEncoder", TinyEncoder()), pictures)
    report = job.run(sorted(map(str, tmp_path.iterdir())))
    assert (report.ingested, report.failures) == (N_PICTURES + 1, [])
    assert report.segments == {"image": N_PICTURES, "text": 1}
    return pictures


def test_segments_are_counted_and_rows_are_stored(pictures: MemoryStore) -> None:
    assert pictures.sizes() == {IMAGE: N_PICTURES, TEXT: 1}
    assert {row.n_segments for row in pictures.scan()} == {1}
    assert len(pictures._segments) == 2 * N_PICTURES + 1


@pytest.mark.parametrize("copied", [False, True])
def test_another_content_of_the_same_size_and_time_is_seen_when_asked(
    library: Library, copied: bool
) -> None:
    """As after a copy that kept the time, or damage; also if the new content is known."""
    path = library.file(3)
    facts, former = path.stat(), path.read_text()
    path.write_text(former.replace("note 3", "page 7"))
    if copied:
        (library.root / "copy.txt").write_text(path.read_text())
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert library.ingest().ingested == copied
    assert library.places()["in/3.txt"] == "3"
    report = library.ingest(verify=True)
    assert (report.ingested, report.failures) == (not copied, [])
    assert report.unchanged == N - 1 + 2 * copied
    assert library.places()["in/3.txt"] == "7"
    at_it = library.store.assets_at([str(path)])[str(path)]
    assert len(at_it) == 1
    again = library.ingest(verify=True)
    assert (again.ingested, again.failures) == (0, [])
