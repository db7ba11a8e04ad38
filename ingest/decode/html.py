"""HTML to the text that a reader sees."""

from __future__ import annotations

import re

from ingest.decode.charset import decode_bytes

_HIDDEN = "script,style,noscript,template,svg,head,[hidden],[aria-hidden=true]"
_BLOCKS = (
    "address,article,aside,blockquote,br,caption,dd,div,dl,dt,figcaption,figure,footer,form,"
    "h1,h2,h3,h4,h5,h6,header,hr,li,main,nav,ol,p,pre,section,table,td,th,tr,ul"
)
# Line ends in the source mean nothing, so mark our own with a private character.
_BREAK = "\ue000"
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]{2,40})", re.I)


def html_text(data: bytes) -> str:
    """Visible text, one line per block."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(_decode(data).replace(_BREAK, " "))
    for node in tree.css(_HIDDEN):
        node.decompose()
    for node in tree.css(_BLOCKS):
        node.insert_before(_BREAK)
        node.insert_after(_BREAK)
    root = tree.body or tree.root
    text = root.text(separator="") if root is not None else ""
    lines = (" ".join(line.split()) for line in text.split(_BREAK))
    return "\n".join(line for line in lines if line)


def html_title(data: bytes) -> str:
    """What ``<title>`` says, else the first ``<h1>``, else nothing."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(_decode(data))
    for tag in ("title", "h1"):
        node = tree.css_first(tag)
        if node is not None and (title := " ".join(node.text().split())):
            return title[:200]
    return ""


def _decode(data: bytes) -> str:
    match = _CHARSET.search(data[:2048])
    return decode_bytes(data, match.group(1).decode() if match else None)
