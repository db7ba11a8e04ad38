"""Files of assets that are removed while somebody asks for them."""

from __future__ import annotations

import gc
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from blake3 import blake3
from httpx import Response
from PIL import Image
from starlette.testclient import TestClient

from encoder.errors import CorruptMediaError, MediaLimitError
from encoder.types import AUDIO, IMAGE, TEXT, Item, Modality
from ingest import IngestConfig
from ingest.sources.objects import VERSIONS, ObjectServer
from search.api.responses.contents import content_of, picture_of
from search.errors import NotFoundError
from search.types import AssetRow
from tests.support.s3_server import S3Server, s3_server
from workers.serving.query_media import QueryDecoder

GERMAN = "Die Fähre fährt um neun Uhr früh über den Fluß nach Süden, später zurück."
STORED = QueryDecoder(IngestConfig(), IngestConfig())


def row(*paths: Path, modality: Modality = IMAGE) -> AssetRow:
    data = paths[0].read_bytes()
    locations = [str(path) for path in paths]
    return AssetRow(content_id(data), modality, "image/png", len(data), {modality: 1}, locations)


def content_id(data: bytes) -> str:
    return blake3(data).hexdigest(length=16)


def n_open() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def drawn(path: Path) -> Path:
    Image.new("RGB", (64, 48), "red").save(path)
    return path


@dataclass(frozen=True)
class Removing:
    """The real decoder, once a file has been removed."""

    victim: Path
    real: QueryDecoder

    def decode(self, modality: Modality, data: bytes, label: str) -> Item:
        return self.real.decode(modality, data, label)

    def unpacked(self, uri: str, asset_id: str) -> AbstractContextManager[Path]:
        return self.real.unpacked(uri, asset_id)

    def picture(self, path: Path, media_type: str, at_s: float, page: int, size: int) -> bytes:
        self.victim.unlink(missing_ok=True)
        return self.real.picture(path, media_type, at_s, page, size)

    def charset(self, path: Path, media_type: str) -> str:
        self.victim.unlink(missing_ok=True)
        return self.real.charset(path, media_type)


@pytest.fixture(params=[True, False], ids=["in a child", "in this process"])
def decoder(request: pytest.FixtureRequest) -> QueryDecoder:
    """Decodes stored files as the server does."""
    config = IngestConfig(isolate=request.param)
    return QueryDecoder(config, config)


def test_a_picture_that_is_removed_while_it_is_read_is_not_there(
    tmp_path: Path, decoder: QueryDecoder
) -> None:
    path = drawn(tmp_path / "sky.png")
    with pytest.raises(NotFoundError, match="is missing or has changed"):
        picture_of(row(path), Removing(path, decoder), 0.0, 1, 32)


def test_a_picture_is_read_from_where_it_still_is(tmp_path: Path, decoder: QueryDecoder) -> None:
    path, copy = drawn(tmp_path / "sky.png"), drawn(tmp_path / "copy.png")
    assert picture_of(row(path, copy), Removing(path, decoder), 0.0, 1, 32)[:4] == b"RIFF"


def test_a_picture_that_is_there_and_broken_is_reported_as_broken(
    tmp_path: Path, decoder: QueryDecoder
) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    with pytest.raises(CorruptMediaError):
        picture_of(row(path), decoder, 0.0, 1, 32)


def test_a_text_that_is_removed_while_it_is_read_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("The ferry leaves at nine.")
    text = replace(row(path, modality=TEXT), media_type="text/plain")
    with pytest.raises(NotFoundError, match="is missing or has changed"):
        content_of(text, Removing(path, STORED))


def test_a_file_that_is_removed_before_it_is_sent_arrives_whole(tmp_path: Path) -> None:
    path = drawn(tmp_path / "sky.png")
    data = path.read_bytes()
    answer = content_of(row(path), STORED)
    path.unlink()
    client = TestClient(answer)
    assert client.get("/").content == data
    ranged = client.get("/", headers={"Range": "bytes=1-3"})
    assert (ranged.status_code, ranged.content) == (206, b"PNG")


def changed(path: Path) -> None:
    """Other bytes of the same size, at the same time."""
    facts = path.stat()
    path.write_bytes(bytes(facts.st_size))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def linked(path: Path) -> None:
    """A link out of the library, to something of the same size."""
    outside = path.with_name("secret")
    outside.write_bytes(bytes(path.stat().st_size))
    path.unlink()
    path.symlink_to(outside)


def swapped_folder(path: Path) -> None:
    """Its folder is another now."""
    path.parent.rename(path.parent.with_name("old"))
    path.parent.mkdir()
    path.write_bytes(bytes((path.parent.with_name("old") / path.name).stat().st_size))


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("replace_file", [changed, linked, swapped_folder, piped])
def test_nothing_else_is_sent_as_the_asset(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    replace_file: Callable[[Path], None],
    *,
    is_large: bool,
) -> None:
    """Of the same size: not even as unmodified to a client that has the asset."""
    (tmp_path / "library").mkdir()
    path = drawn(tmp_path / "library" / "sky.png")
    asset = replace(row(path), metadata={"modified": round(path.stat().st_mtime, 3)})
    assert content_of(asset, STORED).status_code == 200
    if is_large:
        monkeypatch.setattr("search.api.responses.contents._HASHED_BYTES", 1)
    replace_file(path)
    if is_large and replace_file in (changed, swapped_folder):
        os.utime(path, (1, 1))  # another content of a large file is told by its time alone
    for ask in (
        lambda: content_of(asset, STORED, {"if-none-match": f'"{asset.asset_id}"'}),
        lambda: picture_of(asset, STORED, 0.0, 1, 32),
    ):
        with pytest.raises(NotFoundError, match="is missing or has changed"):
            ask()


def test_a_library_that_was_moved_is_sent_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    asset = row(drawn(tmp_path / "library" / "sky.png"))
    (tmp_path / "library").rename(tmp_path / "disk")
    (tmp_path / "library").symlink_to(tmp_path / "disk")
    assert TestClient(content_of(asset, STORED)).get("/").status_code == 200


@pytest.mark.slow
def test_an_answer_lets_go_of_its_file(tmp_path: Path) -> None:
    path = drawn(tmp_path / "sky.png")
    gc.collect()
    before = n_open()
    answers = [content_of(row(path), STORED) for _ in range(20)]
    assert n_open() == before + 20
    answers.clear()
    gc.collect()
    assert n_open() == before


def archived(folder: Path, name: str, data: bytes) -> Path:
    """A ZIP file, or a tar file with another file before, at ``a.zip``."""
    path = folder / name
    if name.endswith(".zip"):
        with ZipFile(path, "w") as archive:
            archive.writestr("other.txt", "The ferry leaves at nine.")
            archive.writestr("sea/sky.png", data)
        return path
    with tarfile.open(path, "w:gz") as packed:
        for member, content in (("other.txt", b"The ferry"), ("sea/sky.png", data)):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            packed.addfile(entry, BytesIO(content))
    return path


def mailed(folder: Path, data: bytes) -> Path:
    """A mail with a picture attached."""
    mail = EmailMessage()
    mail["From"], mail["Date"] = "a@example.org", "Fri, 03 May 2024 10:00:00 +0000"
    mail.set_content("The ferry leaves at nine.")
    mail.add_attachment(data, maintype="image", subtype="png", filename="sky.png")
    path = folder / "a.eml"
    path.write_bytes(bytes(mail))
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tgz", "a.eml"])
def test_a_picture_in_an_archive_is_shown_and_sent(
    tmp_path: Path, decoder: QueryDecoder, name: str
) -> None:
    data = drawn(tmp_path / "sky.png").read_bytes()
    if name == "a.eml":
        location = f"{mailed(tmp_path, data)}!/sky.png"
    else:
        location = f"{archived(tmp_path, name, data)}!/sea/sky.png"
    asset_id = content_id(data)
    asset = AssetRow(asset_id, IMAGE, "image/png", len(data), {IMAGE: 1}, [location])
    assert picture_of(asset, decoder, 0.0, 1, 32)[:4] == b"RIFF"
    answer = TestClient(content_of(asset, decoder)).get("/")
    assert (answer.content, answer.headers["content-type"]) == (data, "image/png")
    assert "filename*=UTF-8''sky.png" in answer.headers["content-disposition"]


def test_what_is_no_longer_in_an_archive_is_not_there(
    tmp_path: Path, decoder: QueryDecoder
) -> None:
    data = drawn(tmp_path / "sky.png").read_bytes()
    archive = archived(tmp_path, "a.zip", data)
    gone = [f"{archive}!/sky.png", f"{tmp_path}/b.zip!/sea/sky.png"]
    for asset_id, places in (("a" * 32, [f"{archive}!/sea/sky.png"]), ("b" * 32, gone)):
        asset = AssetRow(asset_id, IMAGE, "image/png", len(data), {IMAGE: 1}, places)
        with pytest.raises(NotFoundError, match="is missing or has changed"):
            content_of(asset, decoder)


def test_a_sound_has_no_picture(tmp_path: Path, decoder: QueryDecoder) -> None:
    sound = replace(row(drawn(tmp_path / "a.png")), modality=AUDIO, media_type="audio/flac")
    with pytest.raises(NotFoundError, match="which has no picture"):
        picture_of(sound, decoder, 0.0, 1, 32)


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


def object_row(
    server: S3Server, key: str, media_type: str = "video/mp4", data: bytes = b""
) -> AssetRow:
    """An asset in a bucket, as ingest stores it."""
    url = f"s3://photos/{key}"
    facts = ObjectServer(url, server.config()).look(url)
    assert facts is not None
    metadata = {VERSIONS: [facts.version]}
    kind = TEXT if media_type.startswith("text") else IMAGE
    asset_id = content_id(data)
    return AssetRow(asset_id, kind, media_type, facts.size_bytes, {kind: 1}, [url], metadata)


def test_an_object_is_sent_in_ranges_and_read_piece_by_piece(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.serving.query_media._PIECE_BYTES", 4)
    server.put_all({"in/ß.mp4": b"0123456789"})
    asset, config = object_row(server, "in/ß.mp4"), server.config()
    decoder = QueryDecoder(config, config)

    def get(method: str = "GET", **headers: str) -> Response:
        asked = {name.replace("_", "-"): value for name, value in headers.items()}
        return TestClient(content_of(asset, decoder, {**asked, "method": method})).get("/")

    whole = get()
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-disposition"] == "inline; filename*=UTF-8''%C3%9F.mp4"
    part = get(range="bytes=3-8")
    assert (part.status_code, part.content) == (206, b"345678")
    assert part.headers["content-range"] == "bytes 3-8/10"
    assert get(range="bytes=-2", if_range=whole.headers["etag"]).content == b"89"
    assert get(range="bytes=-2", if_range='"other"').status_code == 200
    assert get(range="bytes=10-").status_code == 416
    beyond = "9" * 5000
    assert get(range=f"bytes={beyond}-").status_code == 416
    assert get(range=f"bytes=8-{beyond}").content == b"89"
    assert get(range=f"bytes=-{beyond}").content == b"0123456789"
    assert get(if_none_match=whole.headers["etag"]).status_code == 304
    head = content_of(asset, decoder, {"method": "HEAD"})
    assert (head.body, head.headers["content-length"]) == (b"", "10")
    server.put_all({"in/ß.mp4": b"9876543210"})
    with pytest.raises(NotFoundError, match="has changed"):
        get()


def test_decoders_get_a_copy_of_an_object(
    server: S3Server, tmp_path: Path, decoder: QueryDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put_all(
        {"a.png": drawn(tmp_path / "a.png").read_bytes(), "b.txt": GERMAN.encode("cp1252")}
    )
    sky = object_row(server, "a.png", "image/png", (tmp_path / "a.png").read_bytes())
    german = object_row(server, "b.txt", "text/plain", GERMAN.encode("cp1252"))
    files = server.config(isolate=decoder.files.isolate)
    decoder = QueryDecoder(files, files)
    shown = picture_of(sky, decoder, 0.0, 1, 32)
    assert Image.open(BytesIO(shown)).size == (32, 24)
    text = TestClient(content_of(german, decoder)).get("/")
    assert (text.text, text.headers["content-type"]) == (GERMAN, "text/plain; charset=windows-1252")
    monkeypatch.setattr("workers.serving.query_media._MOST_COPIED_BYTES", 3)
    with pytest.raises(MediaLimitError):
        picture_of(sky, decoder, 0.0, 1, 32)
    server.remove("a.png")
