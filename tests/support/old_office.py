"""Binary workbooks of Excel, written by hand: no library writes them."""

from __future__ import annotations

from pathlib import Path
from struct import pack
from zipfile import ZipFile

_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def write_xlsb(path: Path, text: str) -> Path:
    """A sheet with a heading and a cell below it, by [MS-XLSB]."""

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
