"""What kreuzberg does not read in OpenDocument texts: headers of lists, and numbered paragraphs."""

from __future__ import annotations

import io
import re
import zlib
from zipfile import BadZipFile, ZipFile

_UNREAD = re.compile(rb"<(/?)text:(list-header|numbered-paragraph)\b")
_READ_AS = {b"list-header": b"list-item", b"numbered-paragraph": b"section"}


def with_list_headers(data: bytes, max_bytes: int) -> bytes:
    """A text document whose list headers and numbered paragraphs are elements that kreuzberg reads.

    Unchanged if it has none, is damaged, or unpacks to more than ``max_bytes``.
    """
    try:
        with ZipFile(io.BytesIO(data)) as members:
            if members.getinfo("content.xml").file_size > max_bytes:
                return data
            content = members.read("content.xml")
            if not _UNREAD.search(content):
                return data
            rewritten = io.BytesIO()
            with ZipFile(rewritten, "w") as copy:
                for entry in members.infolist():
                    if entry.filename != "content.xml":
                        copy.writestr(entry, members.read(entry))
                copy.writestr("content.xml", _UNREAD.sub(_element, content))
    except (BadZipFile, KeyError, OSError, EOFError, RuntimeError, zlib.error):
        return data  # kreuzberg says what is wrong with it
    return rewritten.getvalue()


def _element(tag: re.Match[bytes]) -> bytes:
    return b"<%btext:%b" % (tag[1], _READ_AS[tag[2]])
