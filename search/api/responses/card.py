"""Draw a document as a card: an SVG with what was read in it, which the viewer's own fonts set."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from html import escape

from markdown_it import MarkdownIt

from search.api.responses.plain_values import file_name
from search.types import AssetRow

MEDIA_TYPE = "image/svg+xml"

_WIDTH, HEIGHT = 480, 331
_MOST_CHARS, _SHORT_CHARS, _MOST_ROWS = 1600, 250, 16
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "xhtmlOut": True, "breaks": True})
_MARKDOWN.enable("table").disable(["image", "link", "autolink", "reference", "entity"])
_HUES = {  # in degrees, by what the media type says
    r"sheet|excel|csv|tab-sep": 150,
    r"presentation|powerpoint|slides": 45,
    r"word|opendocument\.text|rtf|pages": 255,
    r"rfc822|mbox|outlook": 300,
    r"calendar|vcard": 20,
    r"epub|fictionbook|mobi": 75,
}
_STYLE = """
html { color-scheme: light dark; }
body { margin: 0; height: 331px; box-sizing: border-box; overflow: hidden;
  border-inline-start: 6px solid hsl(HUE 55% 50%); font: 15px/1.45 Georgia, 'Noto Serif', serif;
  background: light-dark(#fffefb, #1d1d22); color: light-dark(#2c2c33, #d8d8de); }
main { padding: 20px 28px; overflow-wrap: anywhere; }
small { float: inline-end; padding: 1px 8px; margin-inline-start: 12px; border-radius: 9px;
  font: 600 12px/1.5 system-ui, sans-serif; letter-spacing: .04em; color: white;
  background: hsl(HUE 55% 38%); }
h1, h2, h3, h4, h5, h6 { margin: 0 0 8px; font: 650 19px/1.25 system-ui, sans-serif; }
p, ul, ol { margin: 0 0 8px; }
ul, ol { padding-inline-start: 20px; }
pre, code { font: 13px/1.4 ui-monospace, monospace; }
pre { margin: 0; white-space: pre; }
table { border-collapse: collapse; font: 13px/1.35 system-ui, sans-serif; }
td, th { padding: 3px 8px; border: 1px solid light-dark(#d5d5da, #46464e); text-align: start; }
th { background: light-dark(#f2f2f0, #2a2a30); }
"""


def card_of(asset: AssetRow, texts: Sequence[str]) -> bytes:
    """The card, 480 × 331 pixels, from the texts of the asset's first segments.

    It holds HTML, which browsers lay out in any script; nothing in it runs or loads.
    """
    name = _drawable(file_name(asset.locations[0]))
    suffix = name.rpartition(".")[2].upper() if "." in name else ""
    text = _drawable("\n\n".join(texts))[:_MOST_CHARS]
    badge = f"<small>{escape(suffix)}</small>" if len(suffix) <= 6 else ""
    body = f'<main dir="auto">{badge}{_body(asset.media_type, text)}</main>'
    style = _STYLE.replace("HUE", str(_hue(asset.media_type)))
    zoom = 1.4 if len(text) < _SHORT_CHARS else 1
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {HEIGHT}"><title>{escape(name)}</title>'
        '<foreignObject width="100%" height="100%"><html xmlns="http://www.w3.org/1999/xhtml">'
        f"<head><style>{style} main {{ zoom: {zoom}; }}</style></head>"
        f"<body>{body}</body></html></foreignObject></svg>"
    ).encode(errors="replace")


def _body(media_type: str, text: str) -> str:
    """What was read, as XHTML."""
    if media_type == "text/x-source":
        return f"<pre>{escape(text)}</pre>"
    if media_type in ("text/csv", "text/tab-separated-values"):
        return _table(text)
    return str(_MARKDOWN.render(text))


def _table(text: str) -> str:
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))[:_MOST_ROWS]
    cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows if row]
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _hue(media_type: str) -> int:
    return next((hue for kinds, hue in _HUES.items() if re.search(kinds, media_type)), 220)


def _drawable(text: str) -> str:
    """With one kind of line end, and without the characters that XML does not allow."""
    lines = re.sub(r"\r\n?", "\n", text)
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", lines)
