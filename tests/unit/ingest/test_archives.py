"""Archives, and the files in mails."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from encoder.errors import MediaError
from ingest import Asset, IngestConfig, identify, ingest, segments
from ingest.sources.archives import identify_members
from ingest.types import Failure
from tests.support import ole
from tests.support.media import picture

CONFIG = IngestConfig(isolate=True)
FILES = {"b.txt": b"The ferry leaves.", "deep/c.md": b"# Whales", "page.html": b"<p>Gulls.</p>"}


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def members(path: Path, scratch: Path, config: IngestConfig = CONFIG) -> list[Asset | str]:
    found: list[Asset | str] = []

    def refuse(uri: str, error: MediaError) -> None:
        found.append(f"{uri.removeprefix(str(path))}: {error}")

    for asset in identify_members(identify(path, config), scratch, config, refuse):
        found.append(asset)
    return found


WRITERS = {".zip": write_zip, ".tar": write_tar, ".tgz": write_tar}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", WRITERS)
def test_each_file_is_an_asset(tmp_path: Path, suffix: str) -> None:
    path = WRITERS[suffix](tmp_path / f"a{suffix}", FILES)
    found = members(path, tmp_path)
    assert [(one.uri, one.media_type, one.metadata["title"]) for one in found] == [
        (f"{path}!/b.txt", "text/plain", "b"),
        (f"{path}!/deep/c.md", "text/markdown", "c"),
        (f"{path}!/page.html", "text/html", "page"),
    ]
    assert [next(segments(one, CONFIG)).content for one in found] == [
        "The ferry leaves.",
        "# Whales",
        "Gulls.",
    ]
    (tmp_path / "b.txt").write_bytes(FILES["b.txt"])
    assert found[0].asset_id == identify(tmp_path / "b.txt", CONFIG).asset_id


def test_a_packed_file_and_archives_in_archives(tmp_path: Path) -> None:
    path = tmp_path / "note.txt.gz"
    path.write_bytes(gzip.compress(b"Foxes."))
    (note,) = members(path, tmp_path)
    assert note.uri == f"{path}!/note.txt"
    inner = write_tar(tmp_path / "inner.tgz", {"x.txt": b"Owls."}).read_bytes()
    outer = write_zip(tmp_path / "outer.zip", {"inner.tgz": inner, "d.txt": b"Dogs."})
    assert [one.uri.rpartition("zip!/")[2] for one in members(outer, tmp_path)] == [
        "inner.tgz!/x.txt",
        "d.txt",
    ]
    flat = CONFIG.model_copy(update={"max_archive_depth": 1})
    refused, dogs = members(outer, tmp_path, flat)
    assert "max_archive_depth" in refused
    assert dogs.uri.endswith("d.txt")


def test_the_library_reads_archives(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_zip(tmp_path / "in" / "a.zip", {**FILES, "x.bin": bytes(range(256)), "empty.txt": b""})
    failures: list[Failure] = []
    found = [s.content for s in ingest(tmp_path / "in", CONFIG, on_failure=failures.append)]
    assert found == ["The ferry leaves.", "# Whales", "Gulls."]
    assert [f.uri.rpartition("!/")[2] for f in failures] == ["x.bin", "empty.txt"]
    assert all("a.zip!/" in f.reason for f in failures)


@pytest.mark.parametrize(
    ("limit", "value"), [("max_archive_files", 2), ("max_archive_bytes", 20_000_000)]
)
def test_limits(tmp_path: Path, limit: str, value: int) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{n}.txt": bytes(9_000_000) for n in range(3)})
    with pytest.raises(MediaError, match=limit):
        members(path, tmp_path, CONFIG.model_copy(update={limit: value}))


@pytest.mark.slow
def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    write_zip(path, {"zeros.txt": bytes(100 * 2**20)})
    with pytest.raises(MediaError, match="200 times"):
        members(path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_packed_bomb_is_not_unpacked(tmp_path: Path, compression: str) -> None:
    """Its first pieces are read as any others are: without those that follow."""
    packed = pa.compress(bytes(512 * 2**20), codec=compression, asbytes=True)
    path = tmp_path / f"bomb.{compression}"
    path.write_bytes(packed)
    tracemalloc.start()
    with pytest.raises(MediaError, match=r"200 times|max_archive_bytes"):
        members(path, tmp_path, CONFIG.model_copy(update={"isolate": False}))
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 64 * 2**20


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("n_left", [6, 40, -5])
def test_what_is_packed_and_cut_off_is_damaged(
    tmp_path: Path, compression: str, n_left: int
) -> None:
    packed = pa.compress(os.urandom(10_000), codec=compression, asbytes=True)
    path = tmp_path / f"cut.{compression}"
    path.write_bytes(packed[:n_left])
    failures: list[Failure] = []
    assert not list(ingest(path, IngestConfig(), failures.append))
    (failure,) = failures
    assert failure.error == "CorruptMediaError"


def test_names_lead_nowhere(tmp_path: Path) -> None:
    scratch = tmp_path / "a" / "b"
    scratch.mkdir(parents=True)
    names = ["../../evil.txt", "/etc/evil.txt", "..\\evil.txt", "x/" * 100 + "long.txt"]
    path = write_zip(tmp_path / "a.zip", dict.fromkeys(names, b"Evil."))
    assert len(members(path, scratch)) == len(names)
    written = [Path(folder) / name for folder, _, files in os.walk(tmp_path) for name in files]
    assert all(file == path or scratch in file.parents for file in written)


def test_an_encrypted_file_says_so(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", FILES)
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1  # the flag of the first file in the directory
    path.write_bytes(data)
    refused, *others = members(path, tmp_path)
    assert refused.startswith("!/b.txt: ")
    assert "is encrypted" in refused
    assert len(others) == 2


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"])
@pytest.mark.parametrize("at", [0.02, 0.98], ids=["start", "end"])
def test_a_damaged_file_costs_no_other(tmp_path: Path, method: str, at: float) -> None:
    path = tmp_path / "a.zip"
    bad = os.urandom(3_000_000).hex().encode()  # of several pieces
    with zipfile.ZipFile(path, "w", getattr(zipfile, method)) as archive:
        for name, data in {"a.txt": b"Gulls.", "bad.txt": bad, "c.txt": b"Terns."}.items():
            archive.writestr(name, data)
        entry = archive.getinfo("bad.txt")
    damaged = bytearray(path.read_bytes())
    start = entry.header_offset + 100 + int(at * (entry.compress_size - 300))
    damaged[start : start + 64] = b"\xff" * 64
    path.write_bytes(damaged)
    first, refused, last = members(path, tmp_path)
    assert [Path(one.uri).name for one in (first, last)] == ["a.txt", "c.txt"]
    assert refused.startswith("!/bad.txt: ")
    assert "cannot be unpacked" in refused


SENT = datetime(2024, 5, 3, 10, tzinfo=UTC)


def png() -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture(90, 70)).save(out, "PNG")
    return out.getvalue()


def zipped(folder: Path, data: bytes) -> bytes:
    return write_zip(folder / "zipped", {"in.txt": data}).read_bytes()


def mail(*files: tuple[str, bytes], subject: str = "Ferries") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", subject
    message["Date"] = "Fri, 03 May 2024 10:00:00 +0000"
    message.set_content("The ferry leaves at nine.")
    message.add_alternative("<p>The ferry leaves at nine.</p>", subtype="html")
    for name, data in files:
        message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return message


def write(path: Path, *files: tuple[str, bytes]) -> Path:
    path.write_bytes(bytes(mail(*files)))
    return path


def names(found: list[Asset | str]) -> list[str]:
    return [one if isinstance(one, str) else one.uri.partition("!/")[2] for one in found]


def test_each_is_a_file_of_its_own(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.eml",
        ("photo.png", png()),
        ("../note.txt", b"Foxes."),
        ("note.txt", b"Owls."),
        ("more.zip", zipped(tmp_path, b"Gulls.")),
    )
    found = members(path, tmp_path)
    assert names(found) == ["photo.png", "note.txt", "note (2).txt", "more.zip!/in.txt"]
    photo = found[0]
    assert isinstance(photo, Asset)
    assert (photo.media_type, photo.metadata["modified"]) == ("image/png", 1714730400.0)
    assert next(segments(photo, CONFIG)).content.shape == (70, 90, 3)
    assert not (tmp_path.parent / "note.txt").exists()


def test_pictures_in_the_text_and_mails_within(tmp_path: Path) -> None:
    message = mail()
    html = message.get_payload()[1]
    html.add_related(png(), maintype="image", subtype="png", cid="<logo>")
    message.add_attachment(mail(("inner.txt", b"Wolves."), subject="Inner"))
    (tmp_path / "a.eml").write_bytes(bytes(message))
    found = members(tmp_path / "a.eml", tmp_path)
    assert names(found) == ["attachment.png", "attachment.eml", "attachment.eml!/inner.txt"]
    inner = found[1]
    assert isinstance(inner, Asset)
    assert (inner.media_type, inner.metadata["title"]) == ("message/rfc822", "Inner")


def test_a_mailbox_numbers_its_mails(tmp_path: Path) -> None:
    path = tmp_path / "a.mbox"
    first = b"From a@example.org Fri May  3 10:00:00 2024\n"
    one, two = (bytes(mail(("x.txt", text))) for text in (b"Foxes.", b"Owls."))
    path.write_bytes(first + one + b"\n" + first + two)
    assert names(members(path, tmp_path)) == ["1/x.txt", "2/x.txt"]


def test_limits_of_archives_hold(tmp_path: Path) -> None:
    path = write(tmp_path / "a.eml", *((f"{n}.txt", b"Foxes.") for n in range(3)))
    with pytest.raises(MediaError, match="max_archive_files"):
        members(path, tmp_path, CONFIG.model_copy(update={"max_archive_files": 2}))
    with pytest.raises(MediaError, match="max_archive_bytes"):
        members(path, tmp_path, CONFIG.model_copy(update={"max_archive_bytes": 10}))
    deep = write(tmp_path / "b.eml", ("in.zip", zipped(tmp_path, b"Owls.")))
    (refused,) = members(deep, tmp_path, CONFIG.model_copy(update={"max_archive_depth": 1}))
    assert "max_archive_depth" in str(refused)


def test_the_library_reads_them_and_the_text(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.eml", ("x.txt", b"Foxes."))
    failures: list[Failure] = []
    found = [str(one.content) for one in ingest(folder, CONFIG, on_failure=failures.append)]
    assert ("leaves at nine" in found[0], found[1], failures) == (True, "Foxes.", [])
    only = CONFIG.model_copy(update={"kinds": ("text",)})
    assert [one.content for one in ingest(folder, only, on_failure=failures.append)] == ["Foxes."]


def msg(*files: tuple[str, bytes | ole.Tree], is_inner: bool = False) -> ole.Tree:
    return ole.outlook("Ferries", "It leaves at nine.", *files, sent=SENT, is_inner=is_inner)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("合同/测试文档.txt", "gb18030"),
        ("資料.txt", "utf-8"),
        ("日本語の文書.txt", "cp932"),
        ("Отчёт о погоде.txt", "cp866"),
        ("Größe.txt", "cp437"),
    ],
)
def test_names_in_any_encoding(tmp_path: Path, name: str, codec: str) -> None:
    raw = name.encode(codec)
    placeholder = "x" * (len(raw) - 4) + ".txt"
    path = write_zip(tmp_path / "a.zip", {placeholder: b"The ferry leaves."})
    path.write_bytes(path.read_bytes().replace(placeholder.encode(), raw))
    assert names(members(path, tmp_path)) == [name]


def test_a_mail_of_outlook_holds_files_and_mails(tmp_path: Path) -> None:
    inner = msg(
        ("in.txt", b"Wolves."), ("deep", msg(("x.txt", b"Deer."), is_inner=True)), is_inner=True
    )
    files = (("photo.png", png()), ("big.txt", b"Foxes. " * 1000), ("re", inner))
    path = ole.write_ole(tmp_path / "a.msg", msg(*files))
    found = members(path, tmp_path)
    assert names(found) == [
        *("photo.png", "big.txt", "re.eml", "re.eml!/in.txt"),
        *("re.eml!/deep.eml", "re.eml!/deep.eml!/x.txt"),
    ]
    photo, _, mail_within, *_, deepest = found
    assert isinstance(photo, Asset)
    assert photo.metadata["modified"] == SENT.timestamp()
    assert isinstance(mail_within, Asset)
    assert mail_within.metadata["title"] == "Ferries"
    said = "".join(str(one.content) for one in segments(mail_within, CONFIG))
    for words in ("It leaves at nine.", "ann@example.org", "Smith, Bob", "Carl (boss)"):
        assert words in said
    assert isinstance(deepest, Asset)
    assert [one.content for one in segments(deepest, CONFIG)] == ["Deer."]


def test_streams_that_share_their_bytes_are_a_bomb(tmp_path: Path) -> None:
    bomb = bytes(2**20)
    path = ole.write_ole(tmp_path / "a.msg", msg(*((f"{n}.bin", bomb) for n in range(100))))
    assert path.stat().st_size < 1.2 * 2**20
    with pytest.raises(MediaError, match="It is damaged or a bomb"):
        identify(path, CONFIG)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "a.msg")
    refused = members(tmp_path / "a.zip", tmp_path)
    assert refused
    assert all("It is damaged or a bomb" in str(one) for one in refused)


def test_mails_in_mails_and_archives_hold_files(tmp_path: Path) -> None:
    def around(message: EmailMessage) -> EmailMessage:
        outer = mail(subject="Outer")
        outer.add_attachment(message)
        return outer

    innermost = mail(("x.txt", b"Deer."), ("y.txt", b"Owls."))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("m.eml", bytes(around(innermost)))
        archive.write(ole.write_ole(tmp_path / "o.msg", msg(("z.txt", b"Gulls."))), "o.msg")
    inside = "m.eml!/attachment.eml"
    expected = ["m.eml", inside, f"{inside}!/x.txt", f"{inside}!/y.txt", "o.msg", "o.msg!/z.txt"]
    assert names(members(tmp_path / "a.zip", tmp_path)) == expected
    few = CONFIG.model_copy(update={"max_archive_files": 4})
    with pytest.raises(MediaError, match="max_archive_files"):
        members(tmp_path / "a.zip", tmp_path, few)
    (tmp_path / "a.eml").write_bytes(bytes(around(around(around(innermost)))))
    *mails, first, second = members(tmp_path / "a.eml", tmp_path)
    assert len(mails) == 3
    assert all("max_archive_depth" in str(one) for one in (first, second))


NOTE = b"The ferry leaves the harbour at nine"


def write_old_tar(path: Path) -> None:
    """As before POSIX: without the mark, so with another sum."""
    data = bytearray(write_tar(path, {"note.txt": NOTE}).read_bytes())
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)


def write_packed(path: Path) -> None:
    with pa.CompressedOutputStream(str(path), {".zst": "zstd", ".lz4": "lz4"}[path.suffix]) as out:
        out.write(NOTE)


def write_mac_zip(path: Path) -> None:
    """With what Finder adds."""
    clutter = {
        "__MACOSX/a/._note.txt": b"\0\5\x16\7\0\2\0\0Mac OS X",
        "a/.DS_Store": b"\0\0\0\1Bud1",
    }
    write_zip(path, {"a/note.txt": NOTE, **clutter})


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.tar", write_old_tar),
        ("a.zst", write_packed),
        ("a.lz4", write_packed),
        ("a.zip", write_mac_zip),
    ],
)
def test_what_other_programs_pack(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    failures: list[Failure] = []
    (found,) = ingest(tmp_path / name, IngestConfig(), failures.append)
    assert found.content == NOTE.decode()
    assert not failures
