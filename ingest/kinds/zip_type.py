"""What a ZIP file is, by its directory: a document whose parts are files, or an archive."""

from __future__ import annotations

import os
import re
import zlib
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile

from encoder.errors import CorruptMediaError
from encoder.media.source import opened

ZIP = b"PK\x03\x04"
_OFFICE = "application/vnd.openxmlformats-officedocument."
_MOST_TYPE_BYTES = 200
_MANIFEST, _MOST_MANIFEST_BYTES = "META-INF/manifest.xml", 2**20
_ROOT_TYPE = re.compile(
    rb'media-type="([^"]+)"[^<>]*full-path="/"|full-path="/"[^<>]*media-type="([^"]+)"'
)
"""What an OpenOffice document without a file ``mimetype`` says of itself."""


_BY_PART = (
    # (the start or the end of a part's name, what it shows)
    ("xl/workbook.bin", "application/vnd.ms-excel.sheet.binary.macroEnabled.12"),
    ("word/", f"{_OFFICE}wordprocessingml.document"),
    ("xl/", f"{_OFFICE}spreadsheetml.sheet"),
    ("ppt/", f"{_OFFICE}presentationml.presentation"),
    ("visio/", "application/vnd.ms-visio.drawing"),
    (".fdseq", "application/vnd.ms-xpsdocument"),
    (".model", "model/3mf"),
    ("theme/", "application/vnd.ms-officetheme"),
)
"""Parts of files that have ``[Content_Types].xml``; the first that is there counts."""

_BY_FILE = (
    ("META-INF/container.xml", "application/epub+zip"),
    ("Index/Document.iwa", "application/vnd.apple.iwork"),
    ("Index.zip", "application/vnd.apple.iwork"),
    ("index.apxl", "application/vnd.apple.iwork"),
    ("index.apxl.gz", "application/vnd.apple.iwork"),
    ("buildVersionHistory.plist", "application/vnd.apple.iwork"),
    ("AndroidManifest.xml", "application/vnd.android.package-archive"),
    ("META-INF/MANIFEST.MF", "application/java-archive"),
)
_ALIASES = {
    "application/oxps": "application/vnd.ms-xpsdocument",
    "application/x-ibooks+zip": "application/epub+zip",
}
_ARCHIVES = ("application/zip", "application/vnd.etsi.asic")
"""Types of archives that name themselves, such as signed ones: their files count."""


def zip_type(path: Path) -> str:
    """The media type of the document that a ZIP file is; empty for an archive.

    Raises:
        MediaError: it cannot be read, or its directory is damaged.
    """
    with opened(path) as file:
        facts = os.fstat(file.fileno())
    return _zip_type(str(path), facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=16)
def _zip_type(path: str, _mtime_ns: int, _size_bytes: int) -> str:
    """Cached, since each kind of document asks."""
    with opened(path) as file:
        return type_by_directory(file, path)


def type_by_directory(file: BinaryIO, name: str) -> str:
    """As `zip_type`, of an open file; ``name`` is for messages."""
    try:
        with ZipFile(file) as members:
            names = dict.fromkeys(members.namelist())
            if "mimetype" in names and members.getinfo("mimetype").file_size < _MOST_TYPE_BYTES:
                mimetype = members.read("mimetype").decode("ascii", "replace").strip()
                if mimetype:
                    return (
                        "" if mimetype.startswith(_ARCHIVES) else _ALIASES.get(mimetype, mimetype)
                    )
            if _MANIFEST in names and members.getinfo(_MANIFEST).file_size < _MOST_MANIFEST_BYTES:
                root = _ROOT_TYPE.search(members.read(_MANIFEST))
                if root:
                    return (root[1] or root[2]).decode("ascii", "replace")
    except (BadZipFile, OSError, ValueError, RuntimeError, EOFError, zlib.error) as error:
        raise CorruptMediaError(
            f"{name} is a damaged ZIP file ({error}).", remedy="Save, fetch or export it again."
        ) from error
    if "[Content_Types].xml" in names:
        for member, media_type in _BY_PART:
            if any(
                member_name.startswith(member) or member_name.endswith(member)
                for member_name in names
            ):
                return media_type
    # Pages and its kin can be saved as a folder, which is packed with its name.
    folders = {member_name.split("/")[0] for member_name in names}
    top = f"{folders.pop()}/" if len(folders) == 1 else ""
    inner = {member_name.removeprefix(top) for member_name in names}
    return next(
        (media_type for member, media_type in _BY_FILE if member in inner or member in names), ""
    )
