"""Mails: one in a file (.eml, .emlx, .msg), or many (.mbox)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from pathlib import Path
from typing import ClassVar

from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.kinds.archive import members_of
from ingest.kinds.attachments import attached, is_mail, mail_of, sent_at
from ingest.kinds.charset import decode_bytes, read_bytes
from ingest.kinds.contract import Kind
from ingest.kinds.documents import title_of
from ingest.kinds.head import Head, Match
from ingest.kinds.html import html_text
from ingest.kinds.office import Ole
from ingest.kinds.outlook import OUTLOOK
from ingest.kinds.unpacking import Unpacking
from ingest.kinds.windows import Section, text_segments
from ingest.types import Asset, Fact, Segment

_BEGINNING = re.compile(rb"(?m)^From \S.{0,200}\d{4}[^\n]{0,20}\r?\n(?=[\w-]+:)")
_SHOWN = ("Subject", "From", "To", "Cc", "Date")


class Mail(Kind):
    """.eml, and .emlx of Apple's Mail."""

    name = "eml"
    modality = TEXT
    formats: ClassVar[tuple[str, ...]] = ("mail (.eml, .msg)",)
    media_types: ClassVar[tuple[str, ...]] = ("message/rfc822",)
    suffixes: ClassVar[tuple[str, ...]] = (".eml", ".emlx")
    max_bytes = "max_document_bytes"
    holds_files = True

    def sniff(self, head: Head) -> Match | None:
        looks_like_mail = head.is_text and is_mail(head.data)
        return Match("message/rfc822", 0.8) if looks_like_mail else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title: the subject, else the file's stem; author, and the day when it was sent."""
        mail = self._mail(path)
        described: dict[str, Fact] = {"title": title_of(_field(mail, "Subject"), path.stem)}
        if author := _field(mail, "From"):
            described["author"] = author
        if sent := sent_at(mail):
            described["created"] = f"{sent:%Y-%m-%d}"
        return described

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        text = _text(self._mail(path), str(path))
        return text_segments(asset, path, [Section(text)], config)

    def members(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        return members_of(asset, Unpacking(asset, config).counted(attached(self._mail(path))))

    @staticmethod
    def _mail(path: Path) -> EmailMessage:
        return mail_of(read_bytes(path), str(path))


class Outlook(Ole, Mail):
    """.msg"""

    name, suffixes = "msg", (".msg",)
    media_types = ("application/vnd.ms-outlook",)
    streams = (OUTLOOK,)


class Mailbox(Mail):
    """.mbox"""

    name, formats, suffixes = "mbox", ("mailboxes (.mbox)",), (".mbox", ".mbx")
    media_types = ("application/mbox",)

    def sniff(self, head: Head) -> Match | None:
        """By the line before each mail, with its date, and the header below it."""
        # A mail in another charset can hold bytes that no text has, so its first lines decide.
        return Match("application/mbox", 0.85) if _BEGINNING.match(head.data) else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title (the file's stem), and how many mails there are."""
        return {"title": path.stem, "n_mails": sum(1 for _ in _mails(path))}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of each mail, numbered from 1, with its subject."""
        sections = (
            Section(
                _text(mail, str(path)), {"mail": number, "heading": _field(mail, "Subject")[:200]}
            )
            for number, mail in enumerate(_mails(path), 1)
        )
        return text_segments(asset, path, sections, config)

    def members(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        attachments = (
            attachment
            for number, mail in enumerate(_mails(path), 1)
            for attachment in attached(mail, f"{number}/")
        )
        return members_of(asset, Unpacking(asset, config).counted(attachments))


def _mails(path: Path) -> Iterator[EmailMessage]:
    data = read_bytes(path)
    beginnings = [*_BEGINNING.finditer(data)]
    ends = [*(match.start() for match in beginnings[1:]), len(data)]
    for match, end in zip(beginnings, ends, strict=True):
        yield message_from_bytes(data[match.end() : end], policy=policy.default)


def _field(mail: EmailMessage, name: str) -> str:
    return " ".join(str(mail[name] or "").split())


def _text(mail: EmailMessage, name: str) -> str:
    head = [f"{name}: {value}" for name in _SHOWN if (value := _field(mail, name))]
    body = mail.get_body(("plain", "html"))
    text = _decoded(body, name) if body else ""
    attached = [attachment.get_filename() or "" for attachment in mail.iter_attachments()]
    names = [f"Attached: {', '.join(filter(None, attached))}"] if any(attached) else []
    return "\n".join([*head, "", text, *names])


def _decoded(body: MIMEPart, name: str) -> str:
    data = body.get_payload(decode=True)
    content = data if isinstance(data, bytes) else b""
    if body.get_content_type() == "text/html":
        return html_text(content, name)
    return decode_bytes(content, body.get_content_charset())
