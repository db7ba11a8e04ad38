"""What is attached to mails."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from PIL import Image

from encoder.errors import MediaError
from ingest import IngestConfig, identify, ingest, segments
from ingest.types import Asset, Failure
from tests.support import ole
from tests.support.media import picture
from tests.unit.ingest.test_archives import members, write_zip

CONFIG = IngestConfig(isolate=True)
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
    assert ("It leaves at nine." in said, "ann@example.org" in said) == (True, True)
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
