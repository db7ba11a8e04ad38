"""Disks that are not mounted, with something left in their mount points: nothing is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from encoder import MultiModalEncoder
from encoder.types import TEXT, Item
from ingest.config import IngestConfig
from search import Query, SearchEngine
from search.filters import Filter
from search.store.memory import MemoryStore
from search.types import AssetRow, Prune
from tests.faults.disk import mounted, small_disk
from tests.integration.test_watch import ended, watching
from workers.pipeline.ingest_pipeline import IngestPipeline
from workers.pipeline.reports import IngestReport
from workers.pipeline.roots import Roots


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, with 12 files."""
    with small_disk(tmp_path / "device", 8) as small:
        for number in range(12):
            (small.folder / f"{number}.txt").write_text(f"Note {number} about ferries.")
        yield small.folder


class Library:
    """A library in memory, whose record of disks is on one, as `anymodal ingest` keeps it."""

    def __init__(self, root: Path, roots: Path, kind: type[MemoryStore] = MemoryStore) -> None:
        self.root = root
        encoder = MultiModalEncoder(quantization=None, enable_dsre=False)
        self.store = kind(encoder.embed_dim)
        config = IngestConfig(isolate=False)
        self.pipeline = IngestPipeline(encoder, self.store, config, roots=Roots(roots))
        self.engine = SearchEngine(encoder, self.store)

    def ingest(self, prune: Prune = False) -> IngestReport:
        return self.pipeline.run([str(self.root)], prune=prune)

    def n_hits(self) -> int:
        return len(self.engine.search(Query([Item(TEXT, "ferries")], limit=100)).hits)


@pytest.mark.slow
@pytest.mark.parametrize("beside", [0, 40], ids=["the root", "a disk in the root"])
@pytest.mark.parametrize("is_same_device", [False, True])
def test_an_unmounted_disk_loses_nothing(
    disk: Path, tmp_path: Path, bundle_home: Path, beside: int, is_same_device: bool
) -> None:
    assert bundle_home.is_dir()
    root = tmp_path / "library"
    point = root / "disk" if beside else root
    point.mkdir(parents=True)
    (point / ".keep").touch()
    (point / "lost+found").mkdir()
    for number in range(beside):
        (root / f"{number}.txt").write_text(f"Another note {number}, about ferries too.")
    source = disk
    if is_same_device:
        source = tmp_path / "source"
        source.mkdir()
        for file in disk.iterdir():
            (source / file.name).write_bytes(file.read_bytes())
    library = Library(root, tmp_path / "roots")
    with mounted(source, point):
        assert library.ingest().ingested == 12 + beside
    for prune in (False, True):
        report = library.ingest(prune)
        assert (report.gone, len(report.failures)) == ({}, 1)
        assert str(point) in report.failures[0].reason
        assert library.n_hits() == 12 + beside
    with mounted(source, point):
        (point / "0.txt").unlink()
        report = library.ingest(prune=True)
        assert (report.unchanged, report.gone, report.failures) == (11 + beside, {"gone": 1}, [])
    assert library.ingest("all").gone["pruned"] == 12
    assert library.n_hits() == beside


class Scanned(MemoryStore):
    """A store at the end of whose scans something happens."""

    happen: Callable[[], object] = bool

    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        yield from super().scan(filter)
        self.happen()


def test_a_disk_that_leaves_while_it_is_looked_through_is_known_when_it_is_back(
    disk: Path, tmp_path: Path, bundle_home: Path
) -> None:
    assert bundle_home.is_dir()
    root = tmp_path / "library"
    root.mkdir()
    (root / ".keep").touch()
    library = Library(root, tmp_path / "roots", Scanned)
    with ExitStack() as there:
        there.enter_context(mounted(disk, root))
        assert library.ingest().ingested == 12
        library.store.happen = there.close
        assert library.pipeline.forget([str(root)], False).gone == {}
    with mounted(disk, root):
        (root / "0.txt").unlink()
        report = library.ingest()
        assert (report.unchanged, report.gone, report.failures) == (11, {"gone": 1}, [])


@pytest.mark.slow
def test_watch_marks_nothing_while_a_disk_is_away(
    disk: Path, tmp_path: Path, bundle_home: Path
) -> None:
    assert bundle_home.is_dir()
    root = tmp_path / "library"
    root.mkdir()
    (root / ".keep").touch()
    with ExitStack() as away:
        away.enter_context(mounted(disk, root))
        with watching(root, tmp_path / "store", "--every", "2") as watch:
            assert watch.counts() == (12, 0, 0, 0, 0)
            away.close()
            while "EmptiedFolderError" not in str((told := watch.batch())["failures"]):
                assert (told["dropped"], told["gone"], told["pruned"]) == (0, 0, 0)
            with mounted(disk, root):
                while (counts := watch.counts()) != (0, 12, 0, 0, 0):
                    assert counts[3:] == (0, 0)
                (root / "0.txt").unlink()
                while watch.counts()[4] != 1:
                    pass
            assert ended(watch.process) == 0
