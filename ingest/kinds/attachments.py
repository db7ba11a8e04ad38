"""Attachments of mails, .eml and .msg: each is a file of its own, within the limits of archives."""

from __future__ import annotations

import io
import mimetypes
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from email.policy import SMTP
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import PurePath
from struct import iter_unpack
from typing import Any, BinaryIO, NamedTuple

from encoder.errors import CorruptMediaError, MediaError, MediaLimitError
from encoder.media.source import decoding
from ingest.kinds.charset import decode_bytes
from ingest.kinds.head import HEAD_BYTES, Head

_BODIES = ("text/plain", "text/html")
_MAIL = "message/rfc822"
_NO_PAGES = ("To", "Cc", "Received", "Message-ID", "Return-Path", "Delivered-To")
_ONLY_MAILS = ("Date", "Message-ID", "MIME-Version", "Received", "Return-Path", "Delivered-To")


class Piece(NamedTuple):
    """Some bytes of a file in an archive, or the ``problem`` if it cannot be unpacked.

    ``number`` counts files, since several can have the same name.
    """

    name: str
    number: int = 0
    data: bytes = b""
    modified_s: float = 0.0
    problem: MediaError | None = None


def told_name(name: str) -> str:
    """Escape the surrogates in a name from another charset, which no store accepts."""
    return name.encode("utf-8", "backslashreplace").decode()


def is_mail(start: bytes) -> bool:
    """Whether text starts with the header of a mail.

    The header has a sender, and a field that a note which starts with "From:" lacks.
    """
    # Many mails in one file (mbox) start with "From ".
    if start.startswith(b"From ") or b":" not in start[:200]:
        return False
    header = BytesHeaderParser().parsebytes(start)
    if is_saved_page(header):
        return False
    return "From" in header and any(map(header.__contains__, _ONLY_MAILS)) and not header.defects


def is_saved_page(header: Message) -> bool:
    """Whether a header is of a page saved as .mht: it has parts, and nothing of a mail."""
    is_page = header.get_content_type() == "multipart/related"
    return is_page and not any(map(header.__contains__, _NO_PAGES))


def may_hold_files(start: bytes) -> bool:
    """Whether a file that starts like this is a mail, or an OLE file, which may be one."""
    head = Head(start[:HEAD_BYTES])
    return start.startswith(OLE) or (head.is_text and is_mail(head.data))


def attached_to(data: bytes, name: str) -> Iterator[tuple[Piece, BinaryIO]]:
    """Each attachment of a mail, .eml or .msg; none if it is not one. ``name`` is for messages.

    Raises:
        MediaError: it is damaged.
    """
    with decoding(data, "a mail"):
        if data.startswith(OLE):
            yield from _outlook(data, name) if OUTLOOK in data else ()
        else:
            yield from attached(message_from_bytes(data, policy=policy.default))


def _outlook(data: bytes, name: str) -> Iterator[tuple[Piece, BinaryIO]]:
    used = set[str]()
    for file in outlook_files(data, name):
        piece = Piece(_free(_clean(file.name, file.media_type), used), modified_s=file.sent_s)
        yield piece, io.BytesIO(file.data)


def attached(mail: EmailMessage, folder: str = "") -> Iterator[tuple[Piece, BinaryIO]]:
    """Each attachment under a unique name below ``folder``, including pictures in the text.

    Several can have the same name, as from scanners and phones: the second is ``name (2).jpg``.
    """
    used = set[str]()
    for part in _files(mail):
        name = _free(_clean(part.get_filename() or "", part.get_content_type()), used)
        piece = Piece(f"{folder}{name}", modified_s=_sent_s(mail))
        yield piece, io.BytesIO(content_of(part))


def _files(part: Message, *, is_outer: bool = True) -> Iterator[Message]:
    """The parts that are not the mail's text; a mail within it is one file."""
    if part.is_multipart() and (is_outer or part.get_content_type() != _MAIL):
        for inner in part.get_payload():
            if isinstance(inner, Message):
                yield from _files(inner, is_outer=False)
    elif not is_outer and not _is_body(part):
        yield part


def _is_body(part: Message) -> bool:
    is_file = part.get_content_disposition() == "attachment" or part.get_filename()
    return part.get_content_type() in _BODIES and not is_file


def _clean(name: str, media_type: str) -> str:
    """The name without folders; if none is left, one based on the type."""
    name = told_name(name).replace("\\", "/")
    name = PurePath("".join(char for char in name if char.isprintable())).name[:200]
    suffix = ".eml" if media_type == _MAIL else mimetypes.guess_extension(media_type) or ""
    return name or f"attachment{suffix}"


def _free(name: str, used: set[str]) -> str:
    path, number = PurePath(name), 1
    while name in used:
        number += 1
        name = f"{path.stem} ({number}){path.suffix}"
    used.add(name)
    return name


def content_of(part: Message) -> bytes:
    """The content of a part of a mail, decoded."""
    if part.get_content_type() == _MAIL and part.is_multipart():
        return b"".join(inner.as_bytes(policy=SMTP) for inner in part.get_payload())  # type: ignore[union-attr]
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _sent_s(mail: EmailMessage) -> float:
    try:
        return parsedate_to_datetime(str(mail["Date"])).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
OUTLOOK = "__properties_version1.0".encode("utf-16-le")
"""The name of a stream that each of these mails has, as the directory spells it."""

_ATTACHED = "__attach_version1.0_#"
_SUBJECT, _FROM, _ADDRESS, _TO, _TEXT, _HTML = "0037", "0C1A", "5D01", "0E04", "1000", "1013"
_DATA, _LONG_NAME, _NAME, _SHOWN_NAME, _TYPE = "3701", "3707", "3704", "3001", "370E"
_SENT = (0x0039, 0x0E06)
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_MAX_DEPTH = 20
_HEADER_BYTES, _INNER_HEADER_BYTES = 32, 24

_Path = tuple[str, ...]


class Attached(NamedTuple):
    """A file attached to a mail, with the name and media type that the mail gives."""

    name: str
    media_type: str
    data: bytes
    sent_s: float


def outlook_files(data: bytes, name: str) -> Iterator[Attached]:
    """The attachments of a mail, one by one; ``name`` is for messages.

    Raises:
        CorruptMediaError: not an OLE file, or one whose streams share bytes, as bombs do.
        MediaLimitError: mails are nested too deeply.
    """
    with _checked(data, name) as ole:
        yield from _outlook_files(_OutlookStorage(ole, ()), name, depth=1)


def check_streams(data: bytes, name: str) -> None:
    """Refuse a bomb, before anything reads it.

    Raises:
        MediaError: as `outlook_files`.
    """
    with decoding(name, "an Outlook mail"):
        _checked(data, name).close()


def _checked(data: bytes, name: str) -> Any:
    from olefile import OleFileIO

    ole = OleFileIO(data)
    n_bytes = sum(entry.size for entry in ole.direntries if entry and entry.entry_type == 2)
    if n_bytes > len(data):
        raise CorruptMediaError(
            f"{name} claims to hold {n_bytes:,} bytes in {len(data):,}.",
            remedy="It is damaged or a bomb. Save the mail again.",
        )
    return ole


class _OutlookStorage:
    """A mail or an attachment in an OLE file, and its streams."""

    def __init__(self, ole: Any, path: _Path) -> None:
        self._ole, self._path = ole, path

    def bytes_of(self, tag: str, kind: str) -> bytes:
        """The bytes of a property; empty if it is missing."""
        return self.stream(f"__substg1.0_{tag}{kind}")

    def stream(self, name: str) -> bytes:
        path = [*self._path, name]
        if self._ole.get_type(path) != 2:
            return b""
        data: bytes = self._ole.openstream(path).read()
        return data

    def text(self, tag: str) -> str:
        wide = self.bytes_of(tag, "001F").decode("utf-16-le", "replace")
        return (wide or decode_bytes(self.bytes_of(tag, "001E"))).rstrip("\0")

    def attachments(self) -> Iterator[_OutlookStorage]:
        names = {entry[len(self._path)] for entry in self._below()}
        for name in sorted(name for name in names if name.startswith(_ATTACHED)):
            yield _OutlookStorage(self._ole, (*self._path, name))

    def mail(self) -> _OutlookStorage | None:
        """The mail that is attached here, if it is a mail and not a file."""
        path = (*self._path, f"__substg1.0_{_DATA}000D")
        return _OutlookStorage(self._ole, path) if self._ole.get_type(list(path)) == 1 else None

    def sent(self) -> datetime | None:
        """When it was sent, from the properties of fixed size."""
        header_bytes = _INNER_HEADER_BYTES if self._path else _HEADER_BYTES
        rows = self.stream("__properties_version1.0")[header_bytes:]
        times = {
            number: value
            for kind, number, _, value in iter_unpack("<HHIQ", rows[: len(rows) // 16 * 16])
            if kind == 0x40 and 0 < value < 2**61
        }
        sent_filetime = next((times[number] for number in _SENT if number in times), 0)
        return _EPOCH + timedelta(microseconds=sent_filetime // 10) if sent_filetime else None

    def _below(self) -> Iterator[list[str]]:
        depth = len(self._path)
        for entry in self._ole.listdir(streams=True, storages=True):
            if len(entry) > depth and tuple(entry[:depth]) == self._path:
                yield entry


def _outlook_files(mail: _OutlookStorage, name: str, depth: int) -> Iterator[Attached]:
    if depth > _MAX_DEPTH:
        raise MediaLimitError(
            f"{name} nests mails more than {_MAX_DEPTH} deep.",
            remedy="Save the inner mails as files.",
        )
    sent = mail.sent()
    sent_s = sent.timestamp() if sent else 0.0
    for attachment in mail.attachments():
        file_name = (
            attachment.text(_LONG_NAME) or attachment.text(_NAME) or attachment.text(_SHOWN_NAME)
        )
        inner = attachment.mail()
        if inner:
            data, file_name = _as_eml(inner, name, depth + 1), f"{file_name or 'mail'}.eml"
            yield Attached(file_name, "message/rfc822", data, sent_s)
        else:
            yield Attached(
                file_name, attachment.text(_TYPE), attachment.bytes_of(_DATA, "0102"), sent_s
            )


def _as_eml(mail: _OutlookStorage, name: str, depth: int) -> bytes:
    """An attached mail, with its own files, as a file that is read like any other mail."""
    message = EmailMessage(policy=SMTP)
    address = mail.text(_ADDRESS)
    message["From"] = _line(f"{mail.text(_FROM)} <{address}>" if address else mail.text(_FROM))
    message["To"], message["Subject"] = _line(mail.text(_TO)), _line(mail.text(_SUBJECT))
    message["MIME-Version"] = "1.0"
    if sent := mail.sent():
        message["Date"] = format_datetime(sent)
    html = mail.bytes_of(_HTML, "0102")
    message.set_content(mail.text(_TEXT))
    if html or (wide := mail.text(_HTML)):
        message.add_alternative(decode_bytes(html) if html else wide, subtype="html")
    for attachment in _outlook_files(mail, name, depth):
        _attach(message, attachment)
    return message.as_bytes()


def _attach(mail: EmailMessage, file: Attached) -> None:
    if file.media_type == "message/rfc822":
        from email import message_from_bytes, policy

        mail.add_attachment(message_from_bytes(file.data, policy=policy.SMTP), filename=file.name)
    else:
        mail.add_attachment(
            file.data, maintype="application", subtype="octet-stream", filename=file.name
        )


def _line(text: str) -> str:
    return " ".join(text.split())
