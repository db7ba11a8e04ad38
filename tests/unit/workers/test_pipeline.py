"""The pipeline as a library."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock
from time import sleep
from typing import Any, cast
from weakref import ref
from zipfile import ZipFile

import pytest

from encoder import MultiModalEncoder
from encoder.errors import CorruptMediaError, DiskError, InputError
from encoder.types import TEXT, Embeddings, Item
from ingest import IngestConfig, isolate
from ingest.types import Asset, Segment
from search.errors import StoreUnavailableError
from search.store.calibrated import Calibrations, StoredCalibration
from search.store.memory import MemoryStore
from search.types import AssetRow, SegmentRow
from tests.faults.tiny_worker import TinyEncoder
from tests.support import points_package
from tests.support.points_package import write_points
from workers.pipeline import IngestPipeline, IngestReport, ingest_pipeline
from workers.pipeline.streams import decode_side_by_side
from workers.serving.engines import frozen

ALONE = r"""
import sys
from pathlib import Path

for name in ("celery", "kombu", "billiard", "redis"):
    sys.modules[name] = None  # importing it fails
from encoder import MultiModalEncoder
from search import open_store
from workers.pipeline import IngestPipeline

Path("note.txt").write_text("The ferry leaves at nine.")
Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
encoder = MultiModalEncoder()
store = open_store("memory:", encoder.space.fingerprint, encoder.space.embed_dim)
report = IngestPipeline(encoder, store).run(["."], labels={"tags": ["sea"]})
(row,) = store.scan()
assert (report.ingested, len(report.failures), row.metadata["tags"]) == (1, 1, ["sea"])
"""


@pytest.mark.slow
def test_a_folder_is_ingested_without_celery(bundle_home: Path, tmp_path: Path) -> None:
    assert bundle_home.is_dir()
    command = [sys.executable, "-W", "error", "-c", ALONE]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture
def encoder() -> MultiModalEncoder:
    """A quick one: what is looked at here is what becomes of files."""
    return cast("MultiModalEncoder", TinyEncoder())


def notes(folder: Path, n: int) -> list[str]:
    for number in range(n):
        (folder / f"{number}.txt").write_text(f"Note {number} is about harvest {number}.")
    return [str(path) for path in sorted(folder.iterdir())]


class FailingStore(MemoryStore):
    """Raises the given errors, one a write, before it works."""

    def __init__(self, dim: int, errors: list[Exception]) -> None:
        super().__init__(dim)
        self.errors = errors

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        if self.errors:
            raise self.errors.pop()
        super().write(assets, segments)


def pipeline(encoder: MultiModalEncoder, store: MemoryStore, **options: Any) -> IngestPipeline:
    return IngestPipeline(encoder, store, **{"shard_files": 1, **options})


def test_reports_come_part_by_part_and_a_stop_leaves_the_rest(
    encoder: MultiModalEncoder, tmp_path: Path
) -> None:
    notes(tmp_path, 8)
    store = MemoryStore(encoder.embed_dim)
    stop, parts = Event(), list[IngestReport]()

    def on_report(report: IngestReport) -> None:
        parts.append(report)
        stop.set()

    job = pipeline(encoder, store)
    first = job.run([str(tmp_path)], on_report=on_report, stopped=stop.is_set)
    assert 1 <= first.ingested == sum(part.ingested for part in parts) < 8
    second = job.run([str(tmp_path)])
    assert (second.ingested, second.unchanged) == (8 - first.ingested, first.ingested)


def test_a_store_that_was_away_is_tried_again(
    encoder: MultiModalEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_pipeline.retry, "delay_s", lambda *_: 0.0)
    away = StoreUnavailableError("The store is away.")
    store = FailingStore(encoder.embed_dim, [away] * 3)
    assert pipeline(encoder, store).run(notes(tmp_path, 2)).ingested == 2
    store.errors = [away] * 6
    report = pipeline(encoder, store).run(notes(tmp_path, 3)[2:])
    assert [Path(failure.uri).name for failure in report.failures] == ["2.txt"]
    assert pipeline(encoder, store).run(notes(tmp_path, 3)[2:]).ingested == 1


def test_a_full_disk_ends_the_run_once_what_is_under_way_is_done(
    encoder: MultiModalEncoder, tmp_path: Path
) -> None:
    store = FailingStore(encoder.embed_dim, [DiskError("No room.")])
    with pytest.raises(DiskError, match=r"No room\."):
        pipeline(encoder, store).run(notes(tmp_path, 8))
    assert len(list(store.scan())) <= 2


class Encodes:
    """Encodes as the real one; called before each text, which may raise."""

    def __init__(self, encoder: MultiModalEncoder, before: Callable[[str], object]) -> None:
        self._encoder, self._before = encoder, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_rows(self, items: Sequence[Item]) -> list[Embeddings]:
        for item in items:
            self._before(item.content)
        return self._encoder.encode_rows(items)


def test_what_nobody_foresaw_costs_only_the_file_that_causes_it(
    encoder: MultiModalEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_pipeline.retry, "delay_s", lambda *_: 0.0)

    def poison(text: str) -> None:
        if text.startswith("Note 7 "):
            raise ZeroDivisionError("a bug")

    store = MemoryStore(encoder.embed_dim)
    job = pipeline(Encodes(encoder, poison), store, shard_files=96)  # type: ignore[arg-type]
    report = job.run(notes(tmp_path, 40))
    assert report.ingested == store.count() == 39
    assert [(Path(x.uri).name, x.error) for x in report.failures] == [
        ("7.txt", "ZeroDivisionError")
    ]


def test_a_calibration_that_fails_costs_no_file(
    encoder: MultiModalEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def away(_: str) -> StoredCalibration:
        if store.count():
            raise StoreUnavailableError("The store is away.")
        return StoredCalibration()

    store = MemoryStore(encoder.embed_dim)
    store.calibrations = Calibrations("", away)
    job = pipeline(encoder, store)
    report = job.run(notes(tmp_path, 2))
    assert (report.ingested, report.failures) == (2, [])
    assert "The store is away." in caplog.text


def long_text(path: Path) -> str:
    path.write_text("\n\n".join(f"Part {n} of a long story. " * 30 for n in range(400)))
    return str(path)


def test_a_stop_ends_a_file_in_its_middle(encoder: MultiModalEncoder, tmp_path: Path) -> None:
    stop, texts = Event(), list[str]()

    def before(text: str) -> None:
        texts.append(text)
        is_note = [not text.startswith("Part") for text in texts]
        if sum(is_note) == 3 and not is_note[-1]:
            stop.set()

    store = MemoryStore(encoder.embed_dim)
    paths = [*notes(tmp_path, 3), long_text(tmp_path / "long.txt")]
    job = pipeline(Encodes(encoder, before), store, shard_files=9)  # type: ignore[arg-type]
    report = job.run(paths, stopped=stop.is_set)
    assert len(texts) < 200
    assert (report.ingested, report.failures, store.count()) == (3, [], 3)
    assert job.run(paths).unchanged == 3


def test_long_files_do_not_hold_up_another_run(encoder: MultiModalEncoder, tmp_path: Path) -> None:
    begun, ended, seen = Event(), Event(), list[str]()

    def before(text: str) -> None:
        seen.append(text)
        begun.set()

    paths = [long_text(tmp_path / f"long{n}.txt") for n in range(2)]
    for path in paths:
        Path(path).write_text(Path(path).read_text() + path)  # not the same content
    job = pipeline(Encodes(encoder, before), MemoryStore(encoder.embed_dim))  # type: ignore[arg-type]

    def run_long() -> IngestReport:
        report = job.run(paths, stopped=ended.is_set)
        ended.set()
        return report

    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(run_long)
        assert begun.wait(60)
        (tmp_path / "short").mkdir()
        assert job.run(notes(tmp_path / "short", 3)).ingested == 3
        assert not ended.is_set()
        ended.set()
        assert long.result().ingested == 0


class CountingStore(MemoryStore):
    """Counts how many shards begin at once at most."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self._lock = Lock()
        self._now = self.most = 0

    def check_writable(self) -> None:  # the first call of each shard
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        sleep(0.05)
        with self._lock:
            self._now -= 1


def test_runs_of_one_pipeline_take_turns(encoder: MultiModalEncoder, tmp_path: Path) -> None:
    paths = notes(tmp_path, 12)
    store = CountingStore(encoder.embed_dim)
    job = pipeline(encoder, store)
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(job.run, (paths[:4], paths[4:8], paths[8:])))
    assert sum(report.ingested for report in reports) == 12
    assert store.most <= 2


def test_only_files_of_the_kinds_asked_for_are_ingested(
    encoder: MultiModalEncoder, tmp_path: Path
) -> None:
    notes(tmp_path, 2)
    (tmp_path / "page.html").write_text("<p>Gulls.</p>")
    (tmp_path / "odd.bin").write_bytes(bytes(range(256)))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in.html", "<p>Terns.</p>")
        archive.writestr("in.txt", "Owls.")
    store = MemoryStore(encoder.embed_dim)
    job = pipeline(encoder, store, shard_files=96)

    def of_kinds(*kinds: str) -> tuple[int, int, int, int]:
        report = job.run([str(tmp_path)], kinds=kinds)
        return report.ingested, report.unchanged, report.left_out, len(report.failures)

    assert of_kinds("html") == (2, 0, 5, 0)
    assert of_kinds("html") == (0, 2, 5, 0)
    assert of_kinds("html", "text") == (3, 2, 2, 0)
    assert of_kinds("text") == (0, 3, 4, 0)  # what is stored of other kinds stays
    assert of_kinds() == (0, 5, 0, 2)
    with pytest.raises(InputError, match="'archive'"):
        of_kinds("archive")


def test_copies_of_a_stored_file_are_left_out_too(
    encoder: MultiModalEncoder, tmp_path: Path
) -> None:
    notes(tmp_path, 1)
    store = MemoryStore(encoder.embed_dim)
    job = pipeline(encoder, store)
    job.run([str(tmp_path)])
    (tmp_path / "copy.txt").write_bytes((tmp_path / "0.txt").read_bytes())
    assert job.run([str(tmp_path)], kinds=["image"]).left_out == 2
    (row,) = store.scan()
    assert row.locations == [str(tmp_path / "0.txt")]


@pytest.fixture
def points(tmp_path: Path) -> Iterator[Path]:
    """Where a package is installed whose kind makes two segments of a file."""
    site = tmp_path / "site"
    twice = "for n in (0, 1):\n            yield Segment(asset.asset_id, self.modality, n,"
    code = points_package.KIND.replace("yield Segment(asset.asset_id, self.modality, 0,", twice)
    points_package.install(site, code=code, tower=True)
    with points_package.importable(site):
        yield site


class WatchedStore(MemoryStore):
    """Notes what is deleted: what a process that is killed before the next write loses."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__(embed_dim)
        self.deleted: list[str] = []

    def delete(self, asset_ids: Sequence[str]) -> None:
        self.deleted.extend(asset_ids)
        super().delete(asset_ids)


HOSTILE = """        if head.start.startswith(b"raises"):
            raise ZeroDivisionError("a bug")
        while head.start.startswith(b"hangs"):
            pass
        if head.start.startswith(b"crashes"):
            __import__("os").abort()
        return Match"""


@pytest.mark.slow
@pytest.mark.parametrize("is_isolated", [True, False])
def test_a_package_that_fails_to_recognise_a_file_costs_that_file(
    encoder: MultiModalEncoder, tmp_path: Path, points: Path, is_isolated: bool
) -> None:
    code = points / "points_kind.py"
    code.write_text(code.read_text().replace("        return Match", HOSTILE, 1))
    isolate.close()  # processes that were started before the package came
    folder = tmp_path / "files"
    folder.mkdir()
    notes(folder, 3)
    config = IngestConfig(isolate=is_isolated, max_decode_s=2)
    job = pipeline(encoder, MemoryStore(encoder.embed_dim), config=config, shard_files=96)
    assert job.run([str(folder)]).ingested == 3
    bad = ["raises", "hangs", "crashes"] if is_isolated else ["raises"]
    for name in bad:
        (folder / f"{name}.txt").write_text(f"{name} in its package")
    (folder / "new.txt").write_text("A further note.")
    report = job.run([str(folder)])
    assert (report.ingested, report.unchanged) == (1, 3)
    assert sorted(Path(letter.uri).stem for letter in report.failures) == sorted(bad)
    isolate.close()


def become(points: Path, version: str) -> None:
    facts = points / "points_kind-1.0.dist-info" / "METADATA"
    facts.write_text(re.sub("Version: .*", f"Version: {version}", facts.read_text()))
    points_package.forget()


def test_a_newer_package_reads_its_files_again(
    bundle_home: Path, tmp_path: Path, points: Path
) -> None:
    assert bundle_home.is_dir()
    encoder = MultiModalEncoder()
    store = WatchedStore(encoder.embed_dim)
    job = pipeline(encoder, store, config=IngestConfig(isolate=False))
    folder = tmp_path / "files"
    folder.mkdir()
    notes(folder, 1)
    write_points(folder / "cloud.pts")
    assert job.run([str(folder)], labels={"tags": ["mine"]}).ingested == 2
    assert job.run([str(folder)]).unchanged == 2
    become(points, "1.0.1")
    assert (job.run([str(folder)]).ingested, store.deleted) == (1, [])
    code = points / "points_kind.py"
    code.write_text(code.read_text().replace("for n in (0, 1):", "for n in (0,):"))
    become(points, "1.1")
    report = job.run([str(folder)])
    assert (report.ingested, report.unchanged) == (1, 1)
    (cloud,) = [row for row in store.scan() if row.modality == "points"]
    assert (cloud.n_segments, len(store.embeddings(cloud.asset_id))) == (1, 1)
    assert store.deleted == [cloud.asset_id], "it has a segment less than before"
    assert (cloud.metadata["read_by"], cloud.metadata["tags"]) == ("points-kind 1.1", ["mine"])
    assert job.run([str(folder)]).unchanged == 2


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.slow
def test_what_was_there_before_is_passed_over_and_what_comes_is_not() -> None:
    before = Ring()
    with frozen():
        inside = Ring()
        gone_before, gone_inside = ref(before), ref(inside)
        del before, inside
        gc.collect()
        assert gone_before() is not None
        assert gone_inside() is None
    gc.collect()
    assert gone_before() is None


def asset(name: str) -> Asset:
    return Asset(name, f"/{name}", TEXT, "text/plain", 1)


def decode(asset: Asset) -> Iterator[Segment]:
    for index in range(5):
        if asset.asset_id == "bad" and index == 2:
            raise CorruptMediaError("broken")
        yield Segment(asset.asset_id, TEXT, index, "x")


def test_every_asset_ends_once_and_keeps_its_order() -> None:
    names = ["a", "bad", "b", "c"]
    assets = [asset(name) for name in names]
    batches = list(decode_side_by_side(assets, decode, threads=3, max_waiting=2))
    steps = [step for batch in batches for step in batch]
    assert max(map(len, batches)) <= 2

    ends = {s.asset.asset_id: s.error for s in steps if s.segment is None}
    assert set(ends) == set(names)
    assert isinstance(ends["bad"], CorruptMediaError)
    assert [s.segment.index for s in steps if s.segment and s.asset.asset_id == "b"] == [*range(5)]


def test_a_consumer_that_leaves_releases_the_threads() -> None:
    stream = decode_side_by_side([asset("a"), asset("b")], decode, threads=2, max_waiting=1)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_what_has_come_is_given_before_the_end_of_a_long_film() -> None:
    goes_on = threading.Event()

    def film(asset: Asset) -> Iterator[Segment]:
        for index in range(40):
            if index == 20:
                assert goes_on.wait(60)
            yield Segment(asset.asset_id, TEXT, index, "x")

    batches = decode_side_by_side([asset("a")], film, threads=1, max_waiting=64)
    first = next(batches)
    assert 16 <= len(first) <= 20
    goes_on.set()
    assert sum(map(len, batches)) == 41 - len(first)
