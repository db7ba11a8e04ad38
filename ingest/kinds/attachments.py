"""What is attached to mails: files of their own, within the limits of archives."""

from __future__ import annotations

import io
import mimetypes
from collections.abc import Iterator
from email.message import EmailMessage, Message
from email.policy import SMTP
from email.utils import parsedate_to_datetime
from pathlib import PurePath
from typing import BinaryIO

from ingest.decode.unpacking import Piece, told_name

_BODIES = ("text/plain", "text/html")
_MAIL = "message/rfc822"


def attached(mail: EmailMessage, folder: str = "") -> Iterator[tuple[Piece, BinaryIO]]:
    """Each attachment by a name of its own, below ``folder``; also pictures in the text.

    Several may be called the same, as by scanners and phones: the second is ``name (2).jpg``.
    """
    used = set[str]()
    for part in _files(mail):
        name = _free(_name(part), used)
        used.add(name)
        piece = Piece(f"{folder}{name}", modified_s=_sent_s(mail))
        yield piece, io.BytesIO(_content(part))


def _files(part: Message, *, is_outer: bool = True) -> Iterator[Message]:
    """Parts that are no text of the mail; a mail within is one file."""
    if part.is_multipart() and (is_outer or part.get_content_type() != _MAIL):
        for inner in part.get_payload():
            if isinstance(inner, Message):
                yield from _files(inner, is_outer=False)
    elif not is_outer and not _is_body(part):
        yield part


def _is_body(part: Message) -> bool:
    is_file = part.get_content_disposition() == "attachment" or part.get_filename()
    return part.get_content_type() in _BODIES and not is_file


def _name(part: Message) -> str:
    name = told_name(part.get_filename() or "").replace("\\", "/")
    name = PurePath("".join(char for char in name if char.isprintable())).name[:200]
    suffix = ".eml" if part.get_content_type() == _MAIL else ""
    suffix = suffix or mimetypes.guess_extension(part.get_content_type()) or ""
    return name or f"attachment{suffix}"


def _free(name: str, used: set[str]) -> str:
    path, number = PurePath(name), 1
    while name in used:
        number += 1
        name = f"{path.stem} ({number}){path.suffix}"
    return name


def _content(part: Message) -> bytes:
    if part.get_content_type() == _MAIL and part.is_multipart():
        return b"".join(inner.as_bytes(policy=SMTP) for inner in part.get_payload())  # type: ignore[union-attr]
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _sent_s(mail: EmailMessage) -> float:
    try:
        return parsedate_to_datetime(str(mail["Date"])).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
