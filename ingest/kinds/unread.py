"""Formats that no kind reads, by their first bytes: what they are, and what would read them."""

from __future__ import annotations

import re

from ingest.kinds.head import Head
from ingest.kinds.outlook import OLE

_NOTHING = "Nothing in it can be searched"
_UNREAD = (
    # (offset, the bytes there, what it is, what to do)
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it with 7-Zip and add its files"),
    (0, b"Rar!\x1a\x07", "a RAR archive", "Unpack it with unrar and add its files"),
    (0, b"PK\5\6", "an archive without files", "Check what should be in it"),
    (0, b"MSCF", "a cabinet archive", "Unpack it with 7-Zip or cabextract and add its files"),
    (
        0,
        b"\x78\x9f\x3e\x22",
        "a file of attachments (TNEF)",
        "Unpack it with tnef and add its files",
    ),
    (0, b"FWS", "a Flash film", "Record or convert it to MP4"),
    (0, b"CWS", "a Flash film", "Record or convert it to MP4"),
    (0, b"!<arch>\ndebian", "a Debian package", "Unpack it with dpkg-deb and add its files"),
    (0, b"\xed\xab\xee\xdb", "an RPM package", "Unpack it with rpm2cpio and add its files"),
    (0, b"\x06\x06\xed\xf5\xd8\x1d", "an InDesign document", "Export it as PDF or IDML"),
    (0, b"\xffWPC", "a WordPerfect document", "Convert it to DOCX with LibreOffice"),
    (0, b"\x31\xbe\0\0", "a Windows Write document", "Convert it to DOCX with LibreOffice"),
    (0, b"L\0\0\0\x01\x14\x02\0", "a shortcut", "Add the file that it leads to"),
    (0, b"\x30\x82", "a certificate or a signed file", "Add the file that was signed"),
    (0, b"gimp xcf", "a GIMP picture", "Export it as PNG from GIMP"),
    (0, b"BLENDER", "a Blender scene", "Render it to PNG or MP4 in Blender"),
    (0, b"AC10", "an AutoCAD drawing", "Export it as PDF or SVG from AutoCAD or LibreCAD"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture", "Convert it to PNG with djxl"),
    (0, b"\xff\x0a", "a JPEG XL picture", "Convert it to PNG with djxl"),
    (0, b"v/1\x01", "an OpenEXR picture", "Convert it to PNG with exrtopng"),
    (40, b" EMF", "an EMF drawing", "Export it as SVG from Inkscape"),
    (0, b"\xd7\xcd\xc6\x9a", "a WMF drawing", "Export it as SVG from Inkscape"),
    (0, b"\xc5\xd0\xd3\xc6", "an EPS drawing", "Convert it to PDF with Ghostscript"),
    (0, b"AT&TFORM", "a DjVu document", "Convert it to PDF with ddjvu"),
    (60, b"BOOKMOBI", "a Kindle book", "Convert it to EPUB with Calibre"),
    (0, b"ITSF", "a Windows help file", "Convert it to HTML with 7-Zip or Calibre"),
    (0, b"SQLite format 3\0", "an SQLite database", "Export its tables as CSV with sqlite3"),
    (4, b"Standard Jet DB", "an Access database", "Export its tables as CSV with mdb-export"),
    (4, b"Standard ACE DB", "an Access database", "Export its tables as CSV with mdb-export"),
    (0, b"<stata_dta>", "a Stata table", "Export it as CSV with Stata or pandas"),
    (0, b"\x71\x02\x01\0", "a Stata table", "Export it as CSV with Stata or pandas"),
    (0, b"\x72\x02\x01\0", "a Stata table", "Export it as CSV with Stata or pandas"),
    (0, b"\x73\x02\x01\0", "a Stata table", "Export it as CSV with Stata or pandas"),
    (0, b"$FL2", "an SPSS table", "Export it as CSV with SPSS or pandas"),
    (0, b"$FL3", "an SPSS table", "Export it as CSV with SPSS or pandas"),
    (0, b"SR\0\4", "an IDL file", "Export its tables as CSV with scipy.io.readsav"),
    (0, b"PAR1", "a Parquet table", "Export it as CSV with pandas or DuckDB"),
    (0, b"ARROW1", "an Arrow table", "Export it as CSV with pandas or DuckDB"),
    (0, b"\x89HDF\r\n", "an HDF5 file", "Export its tables as CSV with h5dump or pandas"),
    (128, b"DICM", "a DICOM picture", "Convert it to PNG with dcmj2pnm"),
    (0, b"!BDN", "an Outlook mailbox (.pst)", "Convert it to mbox with readpst"),
    (0, b"\0\1\0\0\0", "a font", _NOTHING),
    (0, b"OTTO\0", "a font", _NOTHING),
    (0, b"ttcf\0", "fonts", _NOTHING),
    (0, b"wOF", "a font", _NOTHING),
    (0, b"\x93NUMPY", "a NumPy array", "Add what it was made from, or a package that reads it"),
    (0, b"MThd", "a MIDI file", "Render it to WAV or FLAC with FluidSynth"),
    (0, b"\x7fELF", "a program", _NOTHING),
    (0, b"\xca\xfe\xba\xbe", "a Java class or macOS program", "Add its source code"),
    (0, b"MZ", "a Windows program", _NOTHING),
    (0, b"\0asm", "a WebAssembly program", "Add its source code"),
    (0, OLE, "a document of another program", "Export it as PDF, there or in LibreOffice"),
    (0, b"PK\7\x08", "a part of a split archive", "Join and unpack it with 7-Zip"),
    (0, b"\x1f\x9d", "a file packed by compress", "Unpack it with gzip -d"),
    (0, b"\x09\0\4\0", "an Excel 2 workbook", "Convert it to XLSX with LibreOffice"),
    (0, b"\x09\2\6\0", "an Excel 3 workbook", "Convert it to XLSX with LibreOffice"),
    (0, b"\x09\4\6\0", "an Excel 4 workbook", "Convert it to XLSX with LibreOffice"),
    (0, b"\xe4\x52\x5c\x7b", "a OneNote notebook", "Export it as PDF from OneNote"),
    (0, b"bplist00", "a property list", "Convert it to XML with plutil"),
    (0, b"\xde\x12\x04\x95", "a table of translations (.mo)", "Add its .po file"),
    (0, b"\x95\x04\x12\xde", "a table of translations (.mo)", "Add its .po file"),
)
_UNREAD_TEXTS = (
    # (how it begins, what it is, what to do)
    (rb"#EXTM3U|\[playlist\]|<asx\s", "a playlist", "Add the files that it names"),
    (rb"%FDF", "what was typed into a PDF form", "Print the form with it to PDF"),
    (rb"%!PS", "PostScript", "Convert it to PDF with ps2pdf"),
    (rb"<MIFFile\s", "a FrameMaker document", "Save it as PDF in FrameMaker"),
    (rb"!<arch>", "an archive of programs (ar)", "Add their source code"),
    (rb"(999\s.*\s+)*0\s+SECTION\s", "an AutoCAD drawing", "Export it as PDF or SVG in LibreCAD"),
    (rb"(WARC/\d|filedesc://)", "an archive of web pages", "Save the pages as HTML or PDF"),
    (rb"SIMPLE  =", "a FITS picture", "Convert it to PNG with astropy"),
    (rb"-----BEGIN [A-Z0-9 ]+-----\s+[A-Za-z0-9+/]{30}", "a certificate or a key", _NOTHING),
)


_UNREAD_ZIPPED = {
    "application/java-archive": ("a Java program", "Add its source code"),
    "application/vnd.android.package-archive": ("an Android app", "Add its source code"),
    "application/vnd.ms-officetheme": ("a theme without content", "Add documents made with it"),
    "application/vnd.oasis.opendocument.base": ("a database", "Export its tables as CSV"),
    "model/3mf": ("a 3D model", "Render it to PNG"),
}


def unread(head: Head, zipped: str = "") -> tuple[str, str] | None:
    """What a file is and what to do with it, if it is of a format known not to be read.

    ``zipped`` is the type of a document that is a ZIP file.

    >>> unread(Head(b"gimp xcf file"))
    ('a GIMP picture', 'Export it as PNG from GIMP')
    """
    if zipped:
        other = (f"a document ({zipped})", "Export it from its own program as PDF")
        return _UNREAD_ZIPPED.get(zipped, other)
    if reason := _unread_text(head):
        return reason
    reasons = (entry[2:] for entry in _UNREAD if head.data.startswith(entry[1], entry[0]))
    return next(reasons, None)


def is_prose(head: Head) -> bool:
    """Whether people can read it, and not only the program that wrote it."""
    return head.is_text and not _unread_text(head)


def _unread_text(head: Head) -> tuple[str, str] | None:
    reasons = (entry[1:] for entry in _UNREAD_TEXTS if re.match(entry[0], head.start))
    return next(reasons, None)
