"""Objects in a bucket: listed, left out, fetched; against a server that speaks S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder.errors import MediaLimitError, MissingExtraError
from encoder.system import extras
from ingest import Failure, IngestConfig
from ingest.errors import ClosedSourceError, GoneObjectError, SourceError
from ingest.sources.objects import (
    ObjectServer,
    Patience,
    fetch,
    fetch_all,
    is_object,
    list_objects,
    local_path,
    normal,
    whole_path,
)
from tests.support.s3_server import S3Server, s3_server

pytestmark = pytest.mark.moderate  # each asks a server of S3
ROOT = "s3://photos/"


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


def listed(server: S3Server, url: str = ROOT) -> tuple[list[str], list[Failure], list[str]]:
    """The names, what was refused, and the folders that were listed to their end."""
    refused, whole = list[Failure](), list[str]()
    found = list(list_objects(url, server.config(), refused.append, whole.append))
    return [str(one).removeprefix(ROOT) for one in found], refused, whole


def test_urls_are_written_in_one_way() -> None:
    assert normal("S3A://photos/a b%20?.jpg") == "s3://photos/a b%20?.jpg"
    assert normal("memory:///a") == "memory:///a"
    assert normal("sftp://anna@host:22/a") == "sftp://anna@host:22/a"
    assert whole_path("gcs://photos") == "gs://photos/"
    assert whole_path("file:///srv/a b") == local_path("/srv/a b") == "/srv/a b"
    assert whole_path("https://example.org/a") == "https://example.org/a"
    assert not is_object("https://example.org/a")
    for wrong in ("s3://", "s3:///key"):
        with pytest.raises(SourceError, match="names no bucket"):
            normal(wrong)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(SourceError, match=r"sftp://host/a: .*STORAGE_OPTIONS") as caught:
        normal("sftp://anna:hunter2@host/a")
    assert "hunter2" not in str(caught.value)


@pytest.mark.slow
def test_a_listing_goes_through_pages_and_folders_in_a_stable_order(server: S3Server) -> None:
    many = {f"many/{n:04}.txt": "x" for n in range(1100)}
    server.put_all({**many, "a.txt": "1", "a/b.txt": "2", "a//c.txt": "3", "Ü/ß 語?#%.txt": "4"})
    server.put_all({"marker/": "", ".hidden": "5", ".git/config": "6", "/slash": "7"})
    names, refused, whole = listed(server)
    expected = ["a.txt", "/slash", "a/b.txt", "a//c.txt", *many, "Ü/ß 語?#%.txt"]
    assert names == expected
    assert (refused, whole) == ([], [ROOT])
    assert listed(server, f"{ROOT}many")[0] == [*many]
    assert listed(server, f"{ROOT}a.txt") == (["a.txt"], [], [])


@pytest.mark.slow
def test_a_listing_is_streamed_and_one_that_breaks_is_not_whole(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    monkeypatch.setattr("ingest.sources.objects.server._FIRST_PAUSE_S", 0.01)
    server.put_all({f"{n}.txt": "x" for n in range(5)})
    refused, whole = list[Failure](), list[str]()
    found = list_objects(ROOT, server.config(), refused.append, whole.append)
    assert next(found) == f"{ROOT}0.txt"
    server.stop()
    assert [*found] == [f"{ROOT}1.txt", f"{ROOT}2.txt"]  # the rest of the first page
    assert ([one.error for one in refused], whole) == (["ListingError"], [])


def test_patterns_leave_objects_out(server: S3Server) -> None:
    server.put_all({".anymodalignore": "*.tmp\ndrafts/\n", "a.tmp": "", "a.txt": "x"})
    server.put_all({"in/.anymodalignore": "!b.tmp\n", "in/b.tmp": "x", "drafts/c.txt": "x"})
    server.put_all({"!/.anymodalignore": "*\n", "!/!.txt": "", "!/,.txt": ""})
    assert listed(server)[0] == ["a.txt", "in/b.tmp"]
    assert listed(server, f"{ROOT}in/")[0] == ["in/b.tmp"]
    server.put_all({"in/.anymodalignore": b"\xff"})
    names, refused, whole = listed(server)
    assert (names, [one.error for one in refused]) == (["a.txt"], ["IgnoreFileError"])
    assert whole == []


def test_what_cannot_be_listed_is_named(server: S3Server) -> None:
    names, (failure,), whole = listed(server, "s3://none/")
    assert (names, whole, failure.error) == ([], [], "ListingError")
    assert "s3://none/ is not there" in failure.reason
    assert listed(server, f"{ROOT}none.txt")[0] == ["none.txt"]  # reported where it is read


def test_an_object_is_fetched_piece_by_piece(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.sources.objects.fetching._CHUNK_BYTES", 10)
    server.put_all({"a/语 b.txt": "The ferry leaves at nine.", "empty": ""})
    config = server.config()
    (_, asset), (_, empty) = [
        *fetch_all(
            [look(server, "a/语 b.txt"), look(server, "empty")], tmp_path, config, Patience()
        )
    ]
    assert (asset.uri, asset.metadata["title"]) == (f"{ROOT}a/语 b.txt", "语 b")
    assert Path(asset.path).read_text() == "The ferry leaves at nine."
    assert "s3://photos/empty" in str(empty)
    too_small = server.config(max_url_bytes=24)
    with pytest.raises(MediaLimitError, match="has 25 bytes; max_url_bytes is 24"):
        fetch(look(server, "a/语 b.txt"), ObjectServer(ROOT, too_small), tmp_path, too_small)


def look(server: S3Server, name: str) -> object:
    facts = ObjectServer(ROOT, server.config()).look(ROOT + name)
    assert facts is not None
    return facts


@pytest.mark.parametrize("now", ["grown, and rather longer", "gone"])
def test_an_object_that_changes_before_it_is_read_is_read_as_it_is_now(
    server: S3Server, tmp_path: Path, now: str
) -> None:
    server.put_all({"a.txt": "short"})
    before, config = look(server, "a.txt"), server.config()
    server.put_all({"a.txt": now})
    facts, file = fetch(before, ObjectServer(ROOT, config), tmp_path, config)
    assert (file.read_text(), facts.size_bytes) == (now, len(now))
    assert facts.version != before.version
    server.remove("a.txt")
    with pytest.raises(GoneObjectError, match=r"a\.txt is not there"):
        fetch(before, ObjectServer(ROOT, config), tmp_path, config)


@pytest.mark.slow
def test_a_server_that_is_away_is_asked_again_for_a_while_and_once_for_all(
    server: S3Server, tmp_path: Path
) -> None:
    server.put_all({"a.txt": "a", "b.txt": "b"})
    found = [look(server, "a.txt"), look(server, "b.txt")]
    server.stop()
    answers = [error for _, error in fetch_all(found, tmp_path, server.config(), Patience(1.0))]
    assert [type(error) for error in answers] == [SourceError, SourceError]
    assert f"{ROOT}a.txt cannot be read (Could not connect" in str(answers[0])
    assert "Run the ingest again" in str(answers[0])


def test_a_refusal_does_not_show_the_key(tmp_path: Path) -> None:
    with pytest.raises(ClosedSourceError, match="credentials"):
        refuse("s3://b/a", PermissionError("The key SECRET-1 is not known."))
    secret = IngestConfig(storage_options='{"s3": {"secret": "SECRET-1"}}')
    assert "SECRET-1" not in repr(secret)
    assert tmp_path


def refuse(url: str, error: Exception) -> None:
    from ingest.sources.objects.server import tried

    def ask() -> None:
        raise error

    tried(url, ask, Patience(), lambda text: text.replace("SECRET-1", "…"))


def test_what_reads_a_url_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda module: module != "gcsfs")
    with pytest.raises(MissingExtraError, match=r"gs:// needs gcsfs.*\[gcs\]"):
        ObjectServer("gs://photos/", IngestConfig())
    with pytest.raises(SourceError, match="nothing://a/ cannot be read: Protocol not known"):
        ObjectServer("nothing://a/", IngestConfig()).look("nothing://a/b")


def test_options_that_are_no_json_are_named_and_not_shown() -> None:
    for wrong in ("hunter2", '["hunter2"]', '{"s3": "hunter2"}'):
        with pytest.raises(ValueError, match="no JSON like") as caught:
            IngestConfig(storage_options=wrong)
        assert "hunter2" not in str(caught.value)
