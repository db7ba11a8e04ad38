"""Uploads on the disk."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingest import IngestConfig, identify
from search.api.config import ApiConfig
from search.api.requests.uploaded_parts import Receiving
from search.uploads import UploadFolder, safe_name


def test_an_upload_has_the_id_that_ingest_gives_it(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path)
    upload = uploads.begin("a.txt")
    upload.write(b"half ")
    upload.write(b"and half")
    path = upload.keep({"tags": ["x"]})
    upload.drop()
    assert path.read_bytes() == b"half and half"
    asset_id = identify(path, IngestConfig()).asset_id
    assert uploads.owner_of(str(path)) == asset_id
    assert uploads.facts_of(str(path)) == {"tags": ["x"]}
    assert list(uploads.files()) == [(asset_id, path)]
    uploads.remove(asset_id)
    assert list(uploads.files()) == []


def test_what_is_dropped_is_gone(tmp_path: Path) -> None:
    upload = UploadFolder(tmp_path).begin("a.txt")
    upload.write(b"half")
    upload.drop()
    assert list((tmp_path / "incoming").iterdir()) == []


def test_files_elsewhere_are_not_ours(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path / "uploads")
    other = tmp_path / ("a" * 32) / "x.txt"
    assert uploads.owner_of(str(other)) is None
    assert uploads.facts_of(str(other)) == {}


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/", "a/../b", "\0", "x" * 5000 + ".txt", ".note.json", "é" * 300, "\ud800"],
)
def test_every_name_becomes_one_that_a_file_may_have(tmp_path: Path, name: str) -> None:
    safe = safe_name(name)
    path = tmp_path / safe
    path.write_bytes(b"")
    assert path.parent == tmp_path
    assert [found.name for found in tmp_path.iterdir()] == [safe]
    assert not safe.startswith(".")


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_form_is_the_same_in_any_pieces(tmp_path: Path, size: int) -> None:
    head = '--b\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
    parts = [("tags", "", "Möwe"), ("file", '; filename="ß.txt"', "Über See"), ("tags", "", "龍")]
    body = "".join([*(head.format(*part) for part in parts), "--b--\r\n"]).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    async def received() -> list[Path]:
        receiving = Receiving(UploadFolder(tmp_path), ApiConfig())
        await receiving.read("multipart/form-data; boundary=b", pieces())
        assert receiving.facts == {"tags": ["Möwe", "龍"]}
        return await receiving.keep()

    (path,) = asyncio.run(received())
    assert (path.name, path.read_text()) == ("ß.txt", "Über See")


def test_a_form_holds_no_more_files_open_than_one(tmp_path: Path) -> None:
    part = (
        '--b\r\nContent-Disposition: form-data; name="file"; filename="{0}.txt"\r\n\r\nNo {0}\r\n'
    )
    n_open = []

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(300):
            yield part.format(number).encode()
            n_open.append(len(list(Path("/proc/self/fd").iterdir())))
        yield b"--b--\r\n"

    async def received() -> list[Path]:
        receiving = Receiving(UploadFolder(tmp_path), ApiConfig())
        await receiving.read("multipart/form-data; boundary=b", pieces())
        return await receiving.keep()

    paths = asyncio.run(received())
    assert {path.read_text() for path in paths} == {f"No {number}" for number in range(300)}
    assert max(n_open) - n_open[0] < 10
