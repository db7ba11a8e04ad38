"""Split Markdown into sections, one for each heading; recognise titles that say nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingest.decode.windows import Section

_HEADING = re.compile(r"(?m)^(#{1,6}) +(.+?) *#*$")
_PATH_CHARS = 200
_JOIN = " › "
# What programs call a document that nobody gave a title.
_NO_TITLE = re.compile(
    r"(microsoft (word|powerpoint|excel)( - .*)?|untitled.*|(new |neues )?(document|dokument|"
    r"presentation|präsentation|powerpoint presentation|powerpoint-präsentation|slide|folie|book|"
    r"mappe|sheet|scan|page|seite|blank page)[ _-]*\d*|unbenannt.*|ohne titel.*|sans titre.*|"
    r"无标题.*|未命名.*|文档 ?\d*|.*\.(docx?|pptx?|xlsx?|odt|ods|odp|rtf|pdf|indd|tex|dvi|qxd))",
    re.IGNORECASE,
)


def sections_by_heading(markdown: str) -> Iterator[Section]:
    """The text under each heading, with the heading, and the path of headings as its place.

    >>> [s.place for s in sections_by_heading("# A\\nx\\n## B\\ny\\n# C\\nz")]
    [{'heading': 'A'}, {'heading': 'A › B'}, {'heading': 'C'}]
    """
    starts = [*_HEADING.finditer(markdown)]
    first = starts[0].start() if starts else len(markdown)
    if markdown[:first].strip():
        yield Section(markdown[:first].strip())
    path: list[tuple[int, str]] = []
    ends = [match.start() for match in starts[1:]] + [len(markdown)]
    for match, end in zip(starts, ends, strict=False):
        level = len(match[1])
        path = [above for above in path if above[0] < level]
        path.append((level, match[2].strip()))
        heading = _JOIN.join(name for _, name in path)[-_PATH_CHARS:]
        yield Section(markdown[match.start() : end].strip(), {"heading": heading})


def title_of(declared: str, otherwise: str) -> str:
    """The title that a document declares, if that says something; else the other.

    >>> title_of("Untitled 1", "ferries"), title_of("The harbour", "ferries")
    ('ferries', 'The harbour')
    """
    declared = " ".join(declared.split())[:200]
    return declared if declared and not _NO_TITLE.fullmatch(declared) else otherwise
