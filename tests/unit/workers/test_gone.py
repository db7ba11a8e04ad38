"""Files that were renamed, moved, deleted or are on a disk that is away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from encoder import MultiModalEncoder
from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.errors import EmptiedFolderError
from search import Query, SearchEngine
from search.ranking.hits import shown_location
from search.store.base import VectorStore
from search.store.memory import MemoryStore
from search.types import AssetRow, Prune
from search.uploads import UploadFolder
from workers.cli.ingest import ingest
from workers.pipeline.files import WalkedFolders, files_of
from workers.pipeline.ingest_job import IngestJob
from workers.pipeline.pruning import GoneFiles
from workers.pipeline.reports import IngestReport
from workers.pipeline.roots import Roots


@pytest.fixture
def store(encoder: MultiModalEncoder) -> VectorStore:
    return MemoryStore(encoder.embed_dim)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "library"
    (root / "in").mkdir(parents=True)
    (root / "bread.txt").write_text("Knead the dough, then bake the loaf in a hot oven.")
    (root / "in" / "orbit.txt").write_text("A rocket brings the satellite into orbit.")
    (root / "stays.txt").write_text("The library opens at nine.")
    return root


class Library:
    """Ingests as the command does."""

    def __init__(self, encoder: MultiModalEncoder, store: VectorStore) -> None:
        self.job = IngestJob(encoder, store)
        self.store = store
        self.engine = SearchEngine(encoder, store)

    def ingest(self, *paths: Path, prune: Prune = False) -> IngestReport:
        names = [str(path) for path in paths]
        walked = WalkedFolders(names, IngestConfig())
        report = self.job.run(list(files_of(names, lambda _: None, walked)))
        report.add(GoneFiles(self.store, lambda _: False, prune).forget(walked.complete()))
        return report

    def hit(self, text: str) -> str:
        from encoder.types import Item

        hits = self.engine.search(Query([Item(TEXT, text)], limit=1)).hits
        return hits[0].uri if hits else ""

    def places(self) -> set[str]:
        return {uri for row in self.store.scan() for uri in row.locations}

    def n_rows(self) -> int:
        return sum(1 for _ in self.store.scan())


@pytest.fixture
def library(encoder: MultiModalEncoder, store: VectorStore, root: Path) -> Library:
    library = Library(encoder, store)
    assert library.ingest(root).ingested == 3
    return library


def counts(report: IngestReport) -> tuple[int, int, int]:
    return report.gone["dropped"], report.gone["gone"], report.gone["pruned"]


def test_a_file_that_moved_between_folders_is_found_where_it_is(
    library: Library, root: Path
) -> None:
    new = root / "new"
    new.mkdir()
    (root / "bread.txt").rename(new / "bread.txt")
    assert counts(library.ingest(new)) == (0, 0, 0)  # the old folder was not looked at
    assert library.hit("baking bread") == str(new / "bread.txt")
    assert str(root / "bread.txt") in library.places()
    assert counts(library.ingest(root)) == (1, 0, 0)
    assert library.places() == {
        str(root / name) for name in ("new/bread.txt", "in/orbit.txt", "stays.txt")
    }


def test_a_deleted_file_is_no_hit_and_comes_back_without_encoding(
    library: Library, root: Path
) -> None:
    text = (root / "bread.txt").read_text()
    (root / "bread.txt").unlink()
    assert counts(library.ingest(root)) == (0, 1, 0)
    assert counts(library.ingest(root)) == (0, 1, 0)
    assert library.hit("baking bread") != str(root / "bread.txt")
    assert library.n_rows() == 3
    (root / "again.txt").write_text(text)
    report = library.ingest(root)
    assert (report.ingested, report.unchanged, counts(report)) == (0, 3, (0, 0, 0))
    assert library.hit("baking bread") == str(root / "again.txt")
    assert not any(row.is_gone for row in library.store.scan())
    assert str(root / "bread.txt") not in library.places()


_AS_NOBODY = """
import os, sys
from ingest.config import IngestConfig
from workers.pipeline.files import WalkedFolders
from workers.pipeline.pruning import is_gone
from workers.pipeline.files import files_of
root = sys.argv[1]
config = IngestConfig()
list(files_of([], print, WalkedFolders([root], config)))  # imports what another user may not read
if os.geteuid() == 0:  # whom no permission binds
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
walked = WalkedFolders([root], config)
found = list(files_of([root], print, walked))
print(len(found), walked.complete(), is_gone(root + "/locked/x.txt"), is_gone(root + "/none"))
"""


def test_a_folder_that_may_not_be_read_is_not_complete(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "locked").mkdir(parents=True)
    (root / "locked" / "x.txt").write_text("x")
    (root / "a.txt").write_text("a")
    (root / "locked").chmod(0o700 if os.geteuid() == 0 else 0)
    told = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, "."],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout.splitlines()[-1:] == ["2 [] False True"], told.stderr


def test_uploads_and_urls_are_left_alone(store: VectorStore, tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path / "uploads")
    (tmp_path / "there.txt").write_text("x")
    upload = str(uploads.home_of("a" * 32) / "x.txt")
    rows = [
        AssetRow("a" * 32, TEXT, "text/plain", 1, {}, [upload]),
        AssetRow("b", TEXT, "text/plain", 1, {}, ["https://example.org/x.txt"]),
        AssetRow("c", TEXT, "text/plain", 1, {}, [str(tmp_path / "x"), "https://example.org/c"]),
        AssetRow("d", TEXT, "text/plain", 1, {}, [str(tmp_path / "there.txt")]),
    ]
    store.write(rows, [])
    gone = GoneFiles(store, uploads.is_upload, prune=True)
    assert counts(gone.forget([str(tmp_path)])) == (1, 0, 0)
    found = {row.asset_id: list(row.locations) for row in store.scan()}
    assert found == {
        "a" * 32: [upload],
        "b": ["https://example.org/x.txt"],
        "c": ["https://example.org/c"],
        "d": [str(tmp_path / "there.txt")],
    }


def test_the_newest_place_that_exists_is_shown(tmp_path: Path) -> None:
    old, new, lost = (str(tmp_path / name) for name in ("old", "new", "lost"))
    for name, changed_s in ((old, 1e9), (new, 2e9)):
        Path(name).touch()
        os.utime(name, (changed_s, changed_s))
    url = "https://example.org/a"
    assert shown_location([lost, old, new, url]) == new
    assert shown_location([lost, url]) == url
    assert shown_location([lost, lost + "2"]) == lost  # as where workers see different disks
    assert shown_location([lost]) == lost
    assert shown_location([]) == ""


def test_what_is_ignored_from_now_on_is_gone(library: Library, root: Path) -> None:
    (root / ".anymodalignore").write_text("bread.*\nin/\n")
    report = library.ingest(root)
    assert (report.unchanged, counts(report)) == (1, (0, 2, 0))
    assert library.hit("baking bread") == str(root / "stays.txt")
    (root / ".anymodalignore").write_text("in/\n")
    assert counts(library.ingest(root, prune="all")) == (0, 0, 1)
    assert library.places() == {str(root / "bread.txt"), str(root / "stays.txt")}


def test_files_in_an_archive_have_places_of_their_own(library: Library, root: Path) -> None:
    whales, owls = "Whales were seen near the island.", "Owls fly at night without a sound."
    path = root / "a.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("whales.txt", whales)
        archive.writestr("in/owls.txt", owls)
        archive.writestr("x.bin", bytes(range(256)))
    report = library.ingest(root)
    assert (report.ingested, [x.uri for x in report.failures]) == (2, [f"{path}!/x.bin"])
    again = library.ingest(Path(f"{path}!/whales.txt"))
    assert (again.unchanged, again.failures) == (1, [])
    assert library.hit(owls) == f"{path}!/in/owls.txt"
    moved = path.rename(root / "b.zip")
    assert library.ingest(root).ingested == 0
    assert library.hit(owls) == f"{moved}!/in/owls.txt"
    assert not [uri for uri in library.places() if uri.startswith(str(path))]
    with ZipFile(moved, "w") as archive:
        archive.writestr("whales.txt", whales)
    library.ingest(root, prune=True)
    assert library.hit(owls) != f"{moved}!/in/owls.txt"
    assert [uri for uri in library.places() if ".zip" in uri] == [f"{moved}!/whales.txt"]
    moved.unlink()
    assert library.ingest(root, prune="all").gone["pruned"] == 1


def test_a_file_of_the_same_time_and_size_is_not_read_again(
    library: Library, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a file was read")

    with monkeypatch.context() as patch:
        patch.setattr("workers.pipeline.places.content_id", refuse)
        assert library.ingest(root).unchanged == 3
    text = (root / "bread.txt").read_text()
    (root / "bread.txt").write_text(text.replace("hot", "new"))
    report = library.ingest(root)
    assert (report.ingested, report.unchanged) == (1, 2)


def test_places_that_vanished_are_looked_at_alone(library: Library, root: Path) -> None:
    gone = GoneFiles(library.store, lambda _: False, prune=False)
    (root / "bread.txt").unlink()
    (root / "in" / "orbit.txt").unlink()
    (root / "in").rmdir()
    never = [str(root / f"never-{number}") for number in range(30)]
    report = gone.forget([], {str(root): [str(root / "in"), str(root / "stays.txt"), *never]})
    assert counts(report) == (0, 1, 0)
    assert [row.locations for row in library.store.scan() if row.is_gone] == [
        [str(root / "in" / "orbit.txt")]
    ]
    assert counts(gone.forget([], {str(root): [str(root / "bread.txt")]})) == (0, 1, 0)
    (root / "stays.txt").unlink()
    report = gone.forget([], {str(root): [str(root / "stays.txt")]})
    assert (counts(report), report.failures[0].error) == ((0, 0, 0), "EmptiedFolderError")


def test_what_is_gone_outlasts_another_file_of_its_name(library: Library, root: Path) -> None:
    """As a camera gives names again, and an import finds a place taken."""
    path, text = root / "bread.txt", (root / "bread.txt").read_text()
    (row,) = library.store.assets_at([str(path)])[str(path)]
    library.store.write([replace(row, metadata={**row.metadata, "tags": ["mine"]})], [])
    path.unlink()
    library.ingest(root)
    path.write_text("Pears and plums from the orchard.")
    assert (library.ingest(root).ingested, library.ingest(root).unchanged) == (1, 3)
    assert library.hit("orchard fruit") == str(path)
    assert library.store.assets([row.asset_id])[row.asset_id].is_gone
    (root / "back.txt").write_text(text)
    assert library.ingest(root).ingested == 0
    (back,) = library.store.assets([row.asset_id]).values()
    assert (back.metadata["tags"], back.locations) == (["mine"], [str(root / "back.txt")])
    assert library.hit("baking bread") == str(root / "back.txt")


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


class Notes:
    """Files whose commit rows are stored, without segments, and how `GoneFiles` sees them."""

    def __init__(self, folder: Path) -> None:
        self.root, self.roots = folder / "notes", Roots(folder / "roots")
        self.store = MemoryStore(4)
        (self.root / "disk").mkdir(parents=True)
        (self.root / ".keep").touch()

    def put(self, n_files: int, folder: str = "") -> list[Path]:
        files = [self.root / folder / f"{number}.txt" for number in range(n_files)]
        rows = []
        for file in files:
            file.write_text(str(file))
            name = file.relative_to(self.root).as_posix().replace("/", "-")
            rows.append(AssetRow(name, TEXT, "text/plain", 1, {}, [str(file)]))
        self.store.write(rows, [])
        return files

    def forget(
        self, prune: Prune = False, *, folder: Path | None = None, fstab: str = ""
    ) -> IngestReport:
        table = self.root.parent / "fstab"
        table.write_text(fstab)
        gone = GoneFiles(self.store, lambda _: False, prune, table, roots=self.roots)
        return gone.forget([str(folder or self.root)])


def test_only_what_is_in_the_folder_is_looked_for(notes: Notes) -> None:
    first, second, third = notes.put(3)
    first.unlink()
    second.unlink()
    second.mkdir()  # a folder took its name
    for other in ("disk", "../note", "none", os.fsdecode(b"\xff")):
        (notes.root / other).mkdir(exist_ok=True)
        assert counts(notes.forget(True, folder=notes.root / other)) == (0, 0, 0)
    assert counts(notes.forget()) == (0, 2, 0)
    assert counts(notes.forget("all")) == (0, 0, 2)
    assert [row.locations for row in notes.store.scan()] == [[str(third)]]


def test_an_empty_folder_may_be_a_disk_that_is_away(notes: Notes) -> None:
    notes.put(3)
    notes.root.rename(notes.root.with_name("elsewhere"))
    assert counts(notes.forget()) == (0, 0, 0)
    notes.root.mkdir()
    report = notes.forget(True)
    assert counts(report) == (0, 0, 0)
    (failure,) = report.failures
    assert (failure.uri, failure.error) == (str(notes.root), EmptiedFolderError.__name__)
    assert f"anymodal ingest --prune=all {notes.root}" in failure.reason
    assert counts(notes.forget("all")) == (0, 0, 3)


def test_a_disk_of_fstab_that_is_not_mounted_is_away(notes: Notes) -> None:
    notes.put(2)
    lost, _ = notes.put(2, "disk")
    lost.unlink()
    fstab = f"# disks\nUUID=1 / ext4 defaults 0 1\nUUID=2 {notes.root}/disk ext4 noauto 0 2\n"
    assert counts(notes.forget(True, fstab=fstab)) == (0, 0, 0)
    assert counts(notes.forget("all")) == (0, 0, 1)


@pytest.mark.parametrize(
    ("n_files", "n_lost", "is_believed"),
    [(12, 12, False), (12, 11, True), (1, 1, False), (300, 30, True), (300, 31, False)],
)
@pytest.mark.parametrize("prune", [False, True, "all"])
def test_many_lost_at_once_are_not_deleted(
    notes: Notes, n_files: int, n_lost: int, is_believed: bool, prune: Prune
) -> None:
    for file in notes.put(n_files)[:n_lost]:
        file.unlink()
    report = notes.forget(prune)
    n_gone = n_lost if prune == "all" or is_believed else 0
    assert report.gone["pruned" if prune == "all" else "gone"] == n_gone
    assert bool(report.failures) == (prune != "all" and not is_believed)
    assert sum(row.is_gone for row in notes.store.scan()) == (0 if prune == "all" else n_gone)


@pytest.mark.parametrize("place", ["", "disk"])
def test_files_on_another_disk_than_before_are_not_forgotten(notes: Notes, place: str) -> None:
    notes.put(30)
    lost, *_ = notes.put(3, "disk")
    at = str(notes.root / place)
    notes.roots.note(at, notes.roots.around(at), lambda _: True)
    (record,) = (
        file
        for file in (notes.root.parent / "roots").iterdir()
        if json.loads(file.read_text())["place"] == str(notes.root / place)
    )
    facts = json.loads(record.read_text())
    other = {**facts, "device": facts["device"] + 1, "filesystem": facts["filesystem"] + 1}
    record.write_text(json.dumps(other))
    assert not notes.forget().failures  # nothing is missing, so this is its disk now
    if place == "":
        assert json.loads(record.read_text()) == facts
    record.write_text(json.dumps(other))
    lost.unlink()
    for prune in (False, True):
        (failure,) = notes.forget(prune).failures
        assert (failure.uri, failure.error) == (
            str(notes.root / place),
            EmptiedFolderError.__name__,
        )
        assert not any(row.is_gone for row in notes.store.scan())
    record.write_text("not JSON")
    assert notes.forget().gone == {"gone": 1}
    assert notes.forget("all").gone == {"pruned": 1}


def test_a_folder_that_was_ingested_alone_may_be_renamed(notes: Notes) -> None:
    notes.put(30)
    files = notes.put(2, "disk")
    at = str(notes.root / "disk")
    notes.roots.note(at, notes.roots.around(at), lambda _: True)
    for file in files:
        file.unlink()
    (notes.root / "disk").rmdir()
    report = notes.forget()
    assert (report.gone, report.failures) == ({"gone": 2}, [])


@pytest.mark.parametrize("behind_days", [0, 20, 60, 400])
@pytest.mark.parametrize("is_old", [False, True])
def test_what_is_gone_is_kept_for_thirty_days_of_a_clock_that_is_right(
    notes: Notes, monkeypatch: pytest.MonkeyPatch, behind_days: int, is_old: bool
) -> None:
    """Also if the clock was behind when the file was missed, and the file is older than that."""
    files, now_s = notes.put(3), time.time()
    if is_old:
        notes.forget()  # at the right time, of which the record of disks knows
    else:
        rows = [replace(row, metadata={"modified": now_s - 1}) for row in notes.store.scan()]
        notes.store.write(rows, [])
    files[0].unlink()

    def forgotten(at_s: float) -> IngestReport:
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: at_s)
            return notes.forget(prune=True)

    day_s = 86400
    assert counts(forgotten(now_s - behind_days * day_s)) == (0, 1, 0)
    for days, expected in ((0, (0, 1, 0)), (29, (0, 1, 0)), (31, (0, 0, 1))):
        assert counts(forgotten(now_s + days * day_s)) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["."], None),
        (["--prune", "."], "old"),
        (["--prune=all", "."], "all"),
        ([".", "--prune"], "old"),
    ],
)
def test_prune_is_a_flag_that_takes_a_value(words: list[str], expected: str | None) -> None:
    context = ingest.make_context("ingest", words)
    assert (context.params["prune"], context.params["paths"]) == (expected, (str(Path.cwd()),))
