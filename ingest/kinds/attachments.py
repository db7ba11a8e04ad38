"""Attachments of mails: each is a file of its own, within the limits of archives."""

from __future__ import annotations

import io
import mimetypes
import re
from collections.abc import Iterator
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from email.policy import SMTP
from email.utils import parsedate_to_datetime
from pathlib import PurePath
from typing import BinaryIO, NamedTuple

from encoder.errors import MediaError
from encoder.media.source import decoding
from ingest.kinds.head import HEAD_BYTES, Head
from ingest.kinds.outlook import OLE, OUTLOOK, outlook_mail

_BODIES = ("text/plain", "text/html")
_MAIL = "message/rfc822"
_NO_PAGES = ("To", "Cc", "Received", "Message-ID", "Return-Path", "Delivered-To")
_ONLY_MAILS = ("Date", "Message-ID", "MIME-Version", "Received", "Return-Path", "Delivered-To")
_COUNTED = re.compile(rb"(\d{1,9})[ \t]*\r?\n")
"""The number of bytes that follow, in a file of Apple's Mail (.emlx)."""


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
    if counted := _COUNTED.match(start):
        start = start[counted.end() :]
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


def mail_of(data: bytes, name: str) -> EmailMessage:
    """A mail of any program; ``name`` is for messages.

    Raises:
        MediaError: it is damaged.
    """
    if data.startswith(OLE):
        with decoding(data, "an Outlook mail"):
            return outlook_mail(data, name)
    start, end = 0, len(data)
    if counted := _COUNTED.match(data):
        start, end = counted.end(), counted.end() + int(counted[1])
    return message_from_bytes(data[start:end], policy=policy.default)


def attached_to(data: bytes, name: str) -> Iterator[tuple[Piece, BinaryIO]]:
    """Each attachment of a mail; none if it is not one. ``name`` is for messages.

    Raises:
        MediaError: it is damaged.
    """
    if not data.startswith(OLE) or OUTLOOK in data:
        yield from attached(mail_of(data, name))


def attached(mail: EmailMessage, folder: str = "") -> Iterator[tuple[Piece, BinaryIO]]:
    """Each attachment under a unique name below ``folder``, including pictures in the text.

    Several can have the same name, as from scanners and phones: the second is ``name (2).jpg``.
    """
    used = set[str]()
    sent = sent_at(mail)
    sent_s = sent.timestamp() if sent else 0.0
    for file in _files(mail):
        name = _free(_clean(file.get_filename() or "", file.get_content_type()), used)
        piece = Piece(f"{folder}{name}", modified_s=sent_s)
        yield piece, io.BytesIO(content_of(file))


def _files(message: Message, *, is_outer: bool = True) -> Iterator[Message]:
    """The parts that are not the mail's text; a mail within it is one file."""
    if message.is_multipart() and (is_outer or message.get_content_type() != _MAIL):
        for inner in message.get_payload():
            if isinstance(inner, Message):
                yield from _files(inner, is_outer=False)
    elif not is_outer and not _is_body(message):
        yield message


def _is_body(message: Message) -> bool:
    is_file = message.get_content_disposition() == "attachment" or message.get_filename()
    return message.get_content_type() in _BODIES and not is_file


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


def content_of(message: Message) -> bytes:
    """The content of a part of a mail, decoded."""
    if message.get_content_type() == _MAIL and message.is_multipart():
        return b"".join(inner.as_bytes(policy=SMTP) for inner in message.get_payload())  # type: ignore[union-attr]
    data = message.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def sent_at(mail: EmailMessage) -> datetime | None:
    """When a mail was sent, if it says so."""
    try:
        return parsedate_to_datetime(str(mail["Date"]))
    except (ValueError, TypeError, OverflowError):
        return None
