"""Binary files of Excel, PowerPoint and Word, written by hand: no library writes them."""

from __future__ import annotations

from pathlib import Path
from struct import pack
from zipfile import ZipFile

from tests.support.ole import write_ole

_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_LEAST_BYTES = 4096
"""Streams below this size lie elsewhere in an OLE file."""


def write_doc(path: Path, text: str) -> Path:
    """A paragraph, by [MS-DOC]: a header, the text in one piece, and a table with that piece."""
    data = text.encode("cp1252") + b"\r"
    at = 2048
    header = bytearray(at)
    header[0x00:0x0E] = pack("<HHHHHHH", 0xA5EC, 0xC1, 0, 0x409, 0, 0x1200, 0xBF)
    header[0x18:0x22] = pack("<IIH", at, at + len(data), 14)
    header[0x3E:0x44] = pack("<HI", 22, _LEAST_BYTES)
    header[0x4C:0x50] = pack("<I", len(data))
    header[0x98:0x9A] = pack("<H", 0x5D)
    piece = pack("<IIHIH", 0, len(data), 0, 2 * at | 0x40000000, 0)
    table = b"\x02" + pack("<I", len(piece)) + piece
    header[0x1A6:0x1AA] = pack("<I", len(table))
    document = (bytes(header) + data).ljust(_LEAST_BYTES, b"\0")
    return write_ole(path, {"WordDocument": document, "1Table": table.ljust(_LEAST_BYTES, b"\0")})


def write_ppt(path: Path, text: str) -> Path:
    """A slide with a line, by [MS-PPT]."""
    line = text.encode("utf-16-le")
    atom = pack("<HHI", 0, 0x0FA0, len(line)) + line
    slide = pack("<HHI", 0x0F, 0x03EE, len(atom)) + atom
    return write_ole(path, {"PowerPoint Document": slide, "Current User": bytes(20)})


def write_xls(path: Path, text: str) -> Path:
    """A sheet with a heading and a cell below it, by [MS-XLS]."""

    def record(kind: int, data: bytes = b"") -> bytes:
        return pack("<HH", kind, len(data)) + data

    def begin(what: int) -> bytes:
        return record(0x809, pack("<HHHHII", 0x600, what, 0x0DBB, 0x07CC, 0, 6))

    def book(sheet_at: int) -> bytes:
        name = pack("<IBBBB", sheet_at, 0, 0, 7, 0) + b"Ferries"
        return begin(5) + record(0x42, pack("<H", 1200)) + record(0x85, name) + record(0x0A)

    cells = b"".join(
        record(0x204, pack("<HHHHB", row, 0, 0, len(value), 0) + value.encode("latin-1"))
        for row, value in enumerate(("what", text))
    )
    sheet = begin(16) + record(0x200, pack("<IIHHH", 0, 2, 0, 1, 0)) + cells + record(0x0A)
    stream = book(len(book(0))) + sheet
    return write_ole(path, {"Workbook": stream.ljust(_LEAST_BYTES, b"\0")})


def write_xlsb(path: Path, text: str) -> Path:
    """The same by [MS-XLSB]."""

    def record(kind: int, data: bytes = b"") -> bytes:
        return _varint(kind) + _varint(len(data)) + data

    def wide(value: str) -> bytes:
        return pack("<I", len(value)) + value.encode("utf-16-le")

    entry = record(156, pack("<II", 0, 1) + wide("rId1") + wide("Ferries"))
    book = record(131) + record(143) + entry + record(144) + record(132)
    rows = b"".join(
        record(0, pack("<IIHBBBI", row, 0, 300, 0, 0, 0, 0))
        + record(6, pack("<II", 0, 0) + wide(value))
        for row, value in enumerate(("what", text))
    )
    area = record(129) + record(148, pack("<IIII", 0, 1, 0, 0))
    sheet = area + record(145) + rows + record(146) + record(130)
    kind = "application/vnd.ms-excel"
    with ZipFile(path, "w") as members:
        members.writestr(
            "[Content_Types].xml",
            f"<Types xmlns='{_PACKAGE}/content-types'><Default Extension='rels' ContentType="
            "'application/vnd.openxmlformats-package.relationships+xml'/><Override PartName="
            f"'/xl/workbook.bin' ContentType='{kind}.sheet.binary.macroEnabled.main'/><Override "
            f"PartName='/xl/worksheets/sheet1.bin' ContentType='{kind}.worksheet'/></Types>",
        )
        members.writestr("_rels/.rels", _relation("officeDocument", "xl/workbook.bin"))
        members.writestr(
            "xl/_rels/workbook.bin.rels", _relation("worksheet", "worksheets/sheet1.bin")
        )
        members.writestr("xl/workbook.bin", book)
        members.writestr("xl/worksheets/sheet1.bin", sheet)
    return path


def _relation(kind: str, target: str) -> str:
    return (
        f"<Relationships xmlns='{_PACKAGE}/relationships'>"
        f"<Relationship Id='rId1' Type='{_RELATIONS}/{kind}' Target='{target}'/></Relationships>"
    )


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first.

    >>> _varint(156).hex()
    '9c01'
    """
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
