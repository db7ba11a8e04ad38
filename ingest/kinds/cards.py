"""Address books and calendars (vCard and iCalendar): what people read of each entry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from quopri import decodestring

from ingest.config import IngestConfig
from ingest.kinds.charset import decode_bytes, read_bytes
from ingest.kinds.head import Head, Match
from ingest.kinds.plain import Plain
from ingest.kinds.windows import Section, text_segments
from ingest.types import Asset, Fact, Segment

_BEGINNING = re.compile(rb"BEGIN:V(CARD|CALENDAR|EVENT|TODO|JOURNAL|TIMEZONE)\s", re.IGNORECASE)
_CARD, _CALENDAR = "text/vcard", "text/calendar"
_ENTRIES = ("VCARD", "VEVENT", "VTODO", "VJOURNAL")
_NAMES = ("FN", "SUMMARY")
_LABELS = dict(
    pair.split("=")
    for pair in """NICKNAME=Nickname ORG=Organization TITLE=Position ROLE=Role EMAIL=Mail TEL=Phone
    ADR=Address URL=Web BDAY=Birthday NOTE=Note DTSTART=From DTEND=To DUE=Due LOCATION=Place
    DESCRIPTION=Description ORGANIZER=Organizer ATTENDEE=Attendee CATEGORIES=Categories
    COMMENT=Comment STATUS=Status""".split()
)
_FOLD = re.compile(r"\r?\n[ \t]")
_SOFT = re.compile(r"=\r?\n")
_LINE = re.compile(r'(?:[\w-]+\.)?([\w-]+)((?:;(?:[^":;]|"[^"]*")*)*):(.*)')
_ESCAPED = re.compile(r"\\(.)")
_TIME = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(?:T(\d\d):?(\d\d))?")
_SCHEME = re.compile(r"(mailto|tel):", re.IGNORECASE)


class Cards(Plain):
    """.vcf and .ics: the lines of a name or a subject, of addresses, dates and places."""

    name = "cards"
    label = "Contacts or calendar"
    plural = "Contacts and calendars"
    formats = ("contacts (.vcf)", "calendars (.ics)")
    media_types = frozenset({_CARD, _CALENDAR})
    suffixes = (".vcf", ".ics", ".vcs")

    def sniff(self, head: Head) -> Match | None:
        begins = head.is_text and _BEGINNING.match(head.start)
        is_card = begins and begins[1].upper() == b"CARD"
        return Match(_CARD if is_card else _CALENDAR, 0.85) if begins else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title: the name in a file of one entry, else the file's stem."""
        names = [section.place["heading"] for section in _entries(path)]
        return {"title": names[0] if len(names) == 1 else path.stem}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        return text_segments(asset, path, _entries(path), config)


def _entries(path: Path) -> Iterator[Section]:
    text, lines, is_entry = decode_bytes(read_bytes(path)), list[str](), False
    if "QUOTED-PRINTABLE" in text.upper():
        text = _SOFT.sub("", text)
    for line in [*_FOLD.sub("", text).splitlines(), "END:VCARD"]:
        match = _LINE.fullmatch(line)
        name, parameters, value = match.groups() if match else ("", "", "")
        name = name.upper()
        if name in ("BEGIN", "END") and value.strip().upper() in _ENTRIES:
            if lines:
                yield Section("\n".join(lines), {"heading": lines[0][:200]})
            lines, is_entry = [], name == "BEGIN"
        elif is_entry and (line_text := _said(name, parameters.upper(), value.strip())):
            if name in _NAMES:
                lines.insert(0, line_text)
            elif name in _LABELS:
                lines.append(f"{_LABELS[name]}: {line_text}")


def _said(name: str, parameters: str, value: str) -> str:
    """A value as people write it; a day in words, so that it is found by them."""
    if "QUOTED-PRINTABLE" in parameters:
        value = decode_bytes(decodestring(value))
    if name in ("ADR", "ORG"):
        value = ", ".join(filter(None, value.split(";")))
    if time := _TIME.match(value):
        try:
            day = datetime(int(time[1]), int(time[2]), int(time[3]))
        except ValueError:
            return value
        hour = f", {time[4]}:{time[5]}" if time[4] else ""
        return f"{day:%A}, {day.day} {day:%B %Y}{hour}"
    value = _ESCAPED.sub(lambda char: "\n" if char[1] in "nN" else char[1], value)
    return _SCHEME.sub("", value).strip()
