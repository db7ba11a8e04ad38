"""Binary documents of old office programs, and Outlook's mails: files within an OLE file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from encoder.errors import UnsupportedMediaError
from ingest.config import IngestConfig
from ingest.decode.charset import read_bytes
from ingest.decode.outlook import OLE, check_streams
from ingest.decode.windows import Section
from ingest.kinds.archive import members_of, unpacking
from ingest.kinds.attachments import attached_to
from ingest.kinds.head import Head, Match
from ingest.kinds.office import Office, by_sheet, by_slide
from ingest.types import Asset, Segment

_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


class _Ole(Office):
    """An OLE file with a stream of one of these names; its directory can be anywhere."""

    streams: ClassVar[tuple[str, ...]]

    def sniff(self, head: Head) -> Match | None:
        """Any OLE file."""
        return Match(self.media_type, 0.85) if head.data.startswith(OLE) else None

    def accepts(self, path: Path, media_type: str) -> bool:  # noqa: ARG002
        """Whether the stream is there.

        Raises:
            UnsupportedMediaError: it is encrypted.
        """
        data = read_bytes(path)
        if _ENCRYPTED in data:
            raise UnsupportedMediaError(
                f"{path} is an encrypted document.", remedy="Save it without a password."
            )
        return any(name.encode("utf-16-le") in data for name in self.streams)


class Outlook(_Ole):
    """.msg"""

    name, formats, suffixes = "msg", ("mail (.eml, .msg)",), (".msg",)
    media_type = "application/vnd.ms-outlook"
    media_types = frozenset({media_type})
    streams = ("__properties_version1.0",)
    holds_files = True

    def accepts(self, path: Path, media_type: str) -> bool:
        """Whether it is a mail.

        Raises:
            MediaError: it is encrypted, damaged or a bomb.
        """
        accepted = super().accepts(path, media_type)
        if accepted:
            check_streams(read_bytes(path), str(path))
        return accepted

    def members(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Its attachments, and those of the mails in it."""
        files = attached_to(read_bytes(path), str(path))
        return members_of(asset, unpacking(asset, config).counted(files))

    def _sections(self, extracted: Any, path: Path) -> Iterator[Section]:  # noqa: ARG002
        yield Section(extracted.content)


class OldWord(_Ole):
    """.doc"""

    name, formats, suffixes = "doc", ("Word (.doc)",), (".doc", ".dot")
    media_type = "application/msword"
    media_types = frozenset({media_type})
    streams = ("WordDocument",)


class OldPowerpoint(_Ole):
    """.ppt"""

    name, formats, suffixes = "ppt", ("PowerPoint (.ppt)",), (".ppt", ".pps")
    media_type = "application/vnd.ms-powerpoint"
    media_types = frozenset({media_type})
    streams = ("PowerPoint Document",)

    def _sections(self, extracted: Any, path: Path) -> Iterator[Section]:  # noqa: ARG002
        return by_slide(extracted.content)


class OldExcel(_Ole):
    """.xls"""

    name, formats, suffixes = "xls", ("Excel (.xls)",), (".xls", ".xlt")
    media_type = "application/vnd.ms-excel"
    media_types = frozenset({media_type})
    streams = ("Workbook\0", "Book\0")

    def _sections(self, extracted: Any, path: Path) -> Iterator[Section]:  # noqa: ARG002
        return by_sheet(extracted.content)
