"""Objects in a bucket through the pipeline, as folders on a disk are; the server speaks S3."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from encoder import MultiModalEncoder
from encoder.types import TEXT, Item
from ingest import IngestConfig
from ingest.sources.objects import ObjectServer
from search import Query, SearchEngine
from search.filters import Compare, Operator
from search.store.memory import MemoryStore
from search.types import Prune
from tests.support.http_server import files_at
from tests.support.s3_server import S3Server, s3_server
from workers.pipeline.commit_rows import remove
from workers.pipeline.files import count_files, shards
from workers.pipeline.ingest_job import IngestJob
from workers.pipeline.ingest_pipeline import IngestPipeline
from workers.pipeline.reports import IngestReport

ROOT = "s3://photos/"
BREAD = "Knead the dough, then bake the loaf in a hot oven."
ORBIT = "A rocket brings the satellite into orbit."


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


class Library:
    """A store that is filled from a bucket."""

    def __init__(self, encoder: MultiModalEncoder, server: S3Server) -> None:
        self.store = MemoryStore(encoder.embed_dim)
        config = server.config(isolate=False)
        self.pipeline = IngestPipeline(encoder, self.store, config, shard_files=2)
        self.engine = SearchEngine(encoder, self.store)

    def sync(self, *urls: str, prune: Prune = False) -> IngestReport:
        return self.pipeline.run(urls or [ROOT], prune=prune)

    def locations(self) -> set[str]:
        return {uri.removeprefix(ROOT) for row in self.store.scan() for uri in row.locations}

    def found(self, text: str) -> list[str]:
        hits = self.engine.search(Query([Item(TEXT, text)])).hits
        return [hit.uri.removeprefix(ROOT) for hit in hits]


@pytest.fixture
def library(encoder: MultiModalEncoder, server: S3Server) -> Library:
    return Library(encoder, server)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs whose bytes were read, in order."""
    urls = list[str]()
    read = ObjectServer.read

    def noted(self: ObjectServer, url: str, *more: object) -> bytes:
        urls.append(url)
        return read(self, url, *more)

    monkeypatch.setattr(ObjectServer, "read", noted)
    return urls


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.sources.objects.server._FIRST_PAUSE_S", 0.01)


def counts(report: IngestReport) -> tuple[int, int, list[str]]:
    return report.ingested, report.unchanged, [x.uri.removeprefix(ROOT) for x in report.failures]


@pytest.mark.slow
def test_a_bucket_is_kept_in_step(server: S3Server, library: Library, reads: list[str]) -> None:
    server.put_all({"bread.txt": BREAD, "in/Orbit 語.txt": ORBIT, "in/copy.txt": ORBIT})
    assert counts(library.sync()) == (3, 0, [])
    assert library.found("baking")[0] == "bread.txt"
    reads.clear()
    assert counts(library.sync()) == (0, 3, [])
    assert reads == []  # sizes and ETags are as they were

    server.put_all({"bread.txt": "The library opens at nine.", "moved/Orbit.txt": ORBIT})
    server.remove("in/Orbit 語.txt")
    report = library.sync()
    assert counts(report) == (1, 2, [])  # what has moved is not encoded again
    assert report.gone == {"dropped": 1}
    assert set(reads) == {f"{ROOT}bread.txt", f"{ROOT}moved/Orbit.txt"}
    assert library.locations() == {"bread.txt", "in/copy.txt", "moved/Orbit.txt"}

    server.remove("bread.txt")
    assert library.sync().gone == {"gone": 1}
    assert "bread.txt" not in library.found("the library")
    assert library.sync(prune=True).gone == {"gone": 1}
    assert library.sync(prune="all").gone == {"pruned": 1}
    assert library.locations() == {"in/copy.txt", "moved/Orbit.txt"}

    server.put_all({".anymodalignore": "in/\n"})
    assert library.sync().gone == {"dropped": 1}
    rows = list(library.store.scan(Compare("path", Operator.PREFIX, f"{ROOT}moved/")))
    assert [row.locations for row in rows] == [[f"{ROOT}moved/Orbit.txt"]]
    assert remove(library.store, f"{ROOT}moved") == 1


@pytest.mark.slow
def test_in_doubt_nothing_is_forgotten(server: S3Server, library: Library, impatient: None) -> None:
    assert impatient is None
    server.put_all({"a/bread.txt": BREAD, "orbit.txt": ORBIT})
    library.sync()
    server.remove("a/bread.txt")
    (failure,) = library.sync(f"{ROOT}a/", prune=True).failures
    assert (failure.uri, failure.error) == (f"{ROOT}a/", "EmptiedFolderError")
    assert library.locations() == {"a/bread.txt", "orbit.txt"}
    server.stop()
    (failure,) = library.sync(prune=True).failures
    assert (failure.uri, failure.error) == (ROOT, "ListingError")
    assert library.locations() == {"a/bread.txt", "orbit.txt"}


def test_neighbours_of_what_cannot_be_had_go_on(
    server: S3Server, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put_all({"a.txt": BREAD, "bad.png": b"\x89PNG\r\n\x1a\n, not", "gone.txt": ORBIT})
    read = ObjectServer.read

    def gone(self: ObjectServer, url: str, *more: object) -> bytes:
        if url.endswith("gone.txt"):
            server.remove("gone.txt")  # after it was listed and looked at
        return read(self, url, *more)

    monkeypatch.setattr(ObjectServer, "read", gone)
    report = library.sync(ROOT, "s3://none/", f"{ROOT}missing.txt")
    assert (report.ingested, len(report.failures)) == (1, 4)
    reasons = {one.uri.removeprefix(ROOT): one.reason for one in report.failures}
    assert "gone.txt is not there" in reasons["gone.txt"]
    assert "missing.txt is not there" in reasons["missing.txt"]
    assert "s3://none/ is not there" in reasons["s3://none/"]
    assert reasons["bad.png"].startswith(f"{ROOT}bad.png")


def test_a_server_that_dies_half_way(server: S3Server, library: Library, impatient: None) -> None:
    assert impatient is None
    texts = {f"{n}.txt": f"{BREAD} Loaf {n}." for n in range(8)}
    server.put_all(texts)
    reports = list[IngestReport]()

    def kill_at_the_first(report: IngestReport) -> None:
        server.stop()
        reports.append(report)

    total = library.pipeline.run([ROOT], prune=True, on_report=kill_at_the_first)
    assert 2 <= total.ingested < 8
    failed = [one.error for one in total.failures]
    assert failed.pop() == "ListingError"  # so nothing is forgotten
    assert set(failed) == {"SourceError"}
    assert total.ingested + len(failed) == 8  # none is lost silently
    assert len(library.locations()) == total.ingested


@pytest.mark.slow
def test_archives_in_a_bucket(server: S3Server, library: Library) -> None:
    packed = io.BytesIO()
    with ZipFile(packed, "w") as archive:
        archive.writestr("in/bread.txt", BREAD)
        archive.writestr("orbit.txt", ORBIT)
    server.put_all({"a.zip": packed.getvalue()})
    assert counts(library.sync(f"{ROOT}a.zip!/in/bread.txt")) == (1, 0, [])
    assert library.locations() == {"a.zip!/in/bread.txt"}
    assert counts(library.sync()) == (1, 1, [])
    assert library.sync(prune=True).gone == {}
    server.remove("a.zip")
    server.put_all({"b.txt": "The library opens at nine."})
    assert library.sync(prune="all").gone == {"pruned": 2}


def test_shards_know_the_sizes_of_objects(server: S3Server, library: Library) -> None:
    from workers.pipeline.files import WalkedFolders, files_of

    server.put_all({f"{n}.txt": "x" * 2**20 for n in range(4)})
    walked = WalkedFolders([ROOT], library.pipeline.config)
    groups = list(shards(files_of([ROOT], print, walked), 96))
    assert [len(group) for _, group in groups] == [2, 2]
    assert {type(path) for _, group in groups for path in group} == {str}
    assert count_files([ROOT]) is None


def test_a_url_is_stored_under_its_own_name(bundle_home: Path, tmp_path: Path) -> None:
    assert bundle_home.is_dir()
    (tmp_path / "ferry.txt").write_text("The ferry leaves at nine.")
    encoder = MultiModalEncoder(quantization=None, enable_dsre=False)
    store = MemoryStore(encoder.embed_dim)
    config = IngestConfig(url_hosts=("127.0.0.1",), url_networks=("127.0.0.1/32",))
    with files_at(tmp_path) as base:
        urls = [f"{base}/ferry.txt", f"{base}/none.txt", "http://elsewhere.example/a.txt"]
        report = IngestJob(encoder, store, config).run(urls)
    (row,) = store.scan()
    assert (list(row.locations), row.metadata["title"]) == ([urls[0]], "ferry")
    assert [failure.uri for failure in report.failures] == urls[1:]
    assert "404" in report.failures[0].reason
    assert "elsewhere.example is not allowed" in report.failures[1].reason
