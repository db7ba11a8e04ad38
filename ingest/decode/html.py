"""HTML to the text that a reader sees."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from encoder.errors import MediaLimitError
from ingest.decode.charset import decode_bytes

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser

_HIDDEN = "script,style,noscript,template,svg,head,[hidden],[aria-hidden=true]"
_BLOCKS = (
    "address,article,aside,blockquote,br,caption,dd,div,dl,dt,figcaption,figure,footer,form,"
    "h1,h2,h3,h4,h5,h6,header,hr,li,main,nav,ol,p,pre,section,table,td,th,tr,ul"
)
# Line ends in the source mean nothing, so mark our own with a private character.
_BREAK = "\ue000"
_MAX_DEPTH = 2_000
"""Deeper pages are refused: parsing time grows with the square of the depth, by HTML's rules."""

_TAG = re.compile(r"<(/?)([a-z][a-z0-9-]*)", re.IGNORECASE)
# They end by themselves, so that leaving them open does not nest.
_SELF_ENDING = frozenset(
    "area base br col dd dt embed hr img input li link meta p param source tbody td tfoot "
    "th thead tr track wbr".split()
)
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]{2,40})", re.I)


def html_text(data: bytes, name: str) -> str:
    """Visible text, one line per block; ``name`` is for messages.

    Raises:
        MediaLimitError: it nests too deeply.
    """
    tree = _parse(data, name)
    for node in tree.css(_HIDDEN):
        node.decompose()
    for node in tree.css(_BLOCKS):
        node.insert_before(_BREAK)
        node.insert_after(_BREAK)
    root = tree.body or tree.root
    text = root.text(separator="") if root is not None else ""
    lines = (" ".join(line.split()) for line in text.split(_BREAK))
    return "\n".join(line for line in lines if line)


def html_title(data: bytes, name: str) -> str:
    """What ``<title>`` says, else the first ``<h1>``, else nothing."""
    tree = _parse(data, name)
    for tag in ("title", "h1"):
        node = tree.css_first(tag)
        if node is not None and (title := " ".join(node.text().split())):
            return title[:200]
    return ""


def declared_charset(data: bytes) -> str | None:
    """What a page's beginning says of its encoding."""
    match = _CHARSET.search(data[:2048])
    return match.group(1).decode() if match else None


def _parse(data: bytes, name: str) -> LexborHTMLParser:
    from selectolax.lexbor import LexborHTMLParser

    page = decode_bytes(data, declared_charset(data))
    if _most_open(page) > _MAX_DEPTH:
        raise MediaLimitError(
            f"{name} nests more than {_MAX_DEPTH:,} HTML elements.", remedy="Save it as text."
        )
    return LexborHTMLParser(page.replace(_BREAK, " "))


def _most_open(page: str) -> int:
    """At most how many elements are open at once."""
    n_open: Counter[str] = Counter()
    depth = deepest = 0
    for end, tag in _TAG.findall(page):
        tag = tag.lower()
        if tag in _SELF_ENDING:
            continue
        if not end:
            n_open[tag] += 1
            depth += 1
            deepest = max(deepest, depth)
        elif n_open[tag]:
            n_open[tag] -= 1
            depth -= 1
    return deepest
