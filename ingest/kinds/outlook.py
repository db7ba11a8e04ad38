"""Mails of Outlook (.msg), as mails like any other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from struct import iter_unpack
from typing import Any

from encoder.errors import CorruptMediaError, MediaLimitError
from ingest.kinds.charset import decode_bytes

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
OUTLOOK = "__properties_version1.0".encode("utf-16-le")
"""The name of a stream that each of these mails has, as the directory spells it."""

_ATTACHED = "__attach_version1.0_#"
_SUBJECT, _FROM, _ADDRESS, _TO, _CC = "0037", "0C1A", "5D01", "0E04", "0E03"
_TEXT, _HTML = "1000", "1013"
_DATA, _LONG_NAME, _NAME, _SHOWN_NAME = "3701", "3707", "3704", "3001"
_SENT = (0x0039, 0x0E06)
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_MAX_DEPTH = 20
_HEADER_BYTES, _INNER_HEADER_BYTES = 32, 24

_Path = tuple[str, ...]


def outlook_mail(data: bytes, name: str) -> EmailMessage:
    """A mail, with its files and the mails within it; ``name`` is for messages.

    Raises:
        CorruptMediaError: not an OLE file, or one whose streams share bytes, as bombs do.
        MediaLimitError: mails are nested too deeply.
    """
    from olefile import OleFileIO

    with OleFileIO(data) as ole:
        n_bytes = sum(entry.size for entry in ole.direntries if entry and entry.entry_type == 2)
        if n_bytes > len(data):
            raise CorruptMediaError(
                f"{name} claims to hold {n_bytes:,} bytes in {len(data):,}.",
                remedy="It is damaged or a bomb. Save the mail again.",
            )
        return _mail(_Storage(ole, ()), name, depth=1)


class _Storage:
    """A mail or an attachment in an OLE file, and its streams."""

    def __init__(self, ole: Any, path: _Path) -> None:
        self._ole, self._path = ole, path

    def bytes_of(self, tag: str, property_type: str) -> bytes:
        """The bytes of a property; empty if it is missing."""
        return self.stream(f"__substg1.0_{tag}{property_type}")

    def stream(self, name: str) -> bytes:
        path = [*self._path, name]
        if self._ole.get_type(path) != 2:
            return b""
        data: bytes = self._ole.openstream(path).read()
        return data

    def text(self, tag: str) -> str:
        wide = self.bytes_of(tag, "001F").decode("utf-16-le", "replace")
        return (wide or decode_bytes(self.bytes_of(tag, "001E"))).rstrip("\0")

    def attachments(self) -> Iterator[_Storage]:
        names = {entry[len(self._path)] for entry in self._below()}
        for name in sorted(name for name in names if name.startswith(_ATTACHED)):
            yield _Storage(self._ole, (*self._path, name))

    def mail(self) -> _Storage | None:
        """The mail that is attached here, if it is a mail and not a file."""
        path = (*self._path, f"__substg1.0_{_DATA}000D")
        return _Storage(self._ole, path) if self._ole.get_type(list(path)) == 1 else None

    def sent(self) -> datetime | None:
        """When it was sent, from the properties of fixed size."""
        header_bytes = _INNER_HEADER_BYTES if self._path else _HEADER_BYTES
        rows = self.stream("__properties_version1.0")[header_bytes:]
        times = {
            number: value
            for property_type, number, _, value in iter_unpack(
                "<HHIQ", rows[: len(rows) // 16 * 16]
            )
            if property_type == 0x40 and 0 < value < 2**61
        }
        sent_filetime = next((times[number] for number in _SENT if number in times), 0)
        return _EPOCH + timedelta(microseconds=sent_filetime // 10) if sent_filetime else None

    def _below(self) -> Iterator[list[str]]:
        depth = len(self._path)
        for entry in self._ole.listdir(streams=True, storages=True):
            if len(entry) > depth and tuple(entry[:depth]) == self._path:
                yield entry


def _mail(stored: _Storage, name: str, depth: int) -> EmailMessage:
    if depth > _MAX_DEPTH:
        raise MediaLimitError(
            f"{name} nests mails more than {_MAX_DEPTH} deep.",
            remedy="Save the inner mails as files.",
        )
    mail, address = EmailMessage(policy=SMTP), stored.text(_ADDRESS)
    sender = _people(stored.text(_FROM))
    mail["From"] = f"{sender} <{_line(address)}>" if "@" in address else sender
    mail["To"], mail["Cc"] = _people(stored.text(_TO)), _people(stored.text(_CC))
    mail["Subject"] = _line(stored.text(_SUBJECT))
    mail["MIME-Version"] = "1.0"
    if sent := stored.sent():
        mail["Date"] = format_datetime(sent)
    html = decode_bytes(stored.bytes_of(_HTML, "0102")) or stored.text(_HTML)
    mail.set_content(stored.text(_TEXT))
    if html:
        mail.add_alternative(html, subtype="html")
    for attachment in stored.attachments():
        names = map(attachment.text, (_LONG_NAME, _NAME, _SHOWN_NAME))
        file_name = next(filter(None, names), "")
        if inner := attachment.mail():
            message = _mail(inner, name, depth + 1)
            mail.add_attachment(message, filename=f"{file_name or 'mail'}.eml")
        else:
            content = attachment.bytes_of(_DATA, "0102")
            mail.add_attachment(content, "application", "octet-stream", filename=file_name)
    return mail


def _people(names: str) -> str:
    """Names, quoted, since they have commas: ``Ann, Doctor; Bob``."""
    quoted = (f'"{name}"' for each in names.split(";") if (name := _line(each).replace('"', "'")))
    return ", ".join(quoted)


def _line(text: str) -> str:
    return " ".join(text.split())
