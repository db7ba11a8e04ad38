"""No terminal control characters get out, through any interface."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
from contextlib import redirect_stdout
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from encoder.types import TEXT
from ingest.types import Failure
from search.types import Hit, SearchResult
from workers.cli import output
from workers.observe.logs import JsonFormatter, TextFormatter
from workers.observe.printable import SafeStream, one_line, printable, safe_json
from workers.pipeline.reports import IngestReport

_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
HOSTILE = ["\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\x9d0;t\x9c", "\r", "\b", "\u2028", "\udc9b"]
PIECES = st.sampled_from([*HOSTILE, *_BIDI, "\n", "[red]", "[/]", "a.txt", "ä", "😀"])
TEXTS = st.one_of(
    st.text(st.characters(codec=None, exclude_categories=[])), st.lists(PIECES).map("".join)
)


def harmful(text: str, allowed: str = "\n\t") -> list[str]:
    """By Unicode's own categories and directions, not by our list."""
    return [
        letter
        for letter in text
        if letter not in allowed
        and (unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in _BIDI)
    ]


@given(TEXTS)
def test_what_is_printable_obeys_nothing_and_stays(text: str) -> None:
    shown = printable(text)
    assert not harmful(shown)
    assert printable(shown) == shown
    assert not harmful(one_line(text), "\t")
    shown.encode()


@given(TEXTS)
def test_plain_text_is_left_alone(text: str) -> None:
    if not harmful(text):
        assert printable(text) == text


@given(TEXTS)
def test_json_says_the_same_and_is_safe(text: str) -> None:
    document = io.StringIO()
    with redirect_stdout(document):
        output.print_json({text: [text]})
    assert not harmful(document.getvalue())
    assert json.loads(document.getvalue()) == {text: [text]}
    assert safe_json(json.dumps(text)) == json.dumps(text)


@given(TEXTS)
def test_a_stream_passes_no_more_than_a_leading_return(text: str) -> None:
    inner = io.StringIO(newline="")
    SafeStream(inner).write(text)
    assert not harmful(inner.getvalue().removeprefix("\r"))


@given(TEXTS)
def test_a_log_holds_one_safe_line_a_record(text: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (text,), None)
    record.ids = {"asset_id": text.replace("\n", "")}
    assert not harmful(TextFormatter().format(record), "\t")
    line = JsonFormatter().format(record)
    assert not harmful(line, "")
    assert set(json.loads(line)) == {"time", "level", "logger", "message", "asset_id"}


def drawn(text: str, *, colors: bool) -> str:
    """What the command line's tables and reports print for a name, a title, a reason."""
    screen = output.console()
    inner = io.StringIO()
    screen.file = inner
    screen._force_terminal, screen.no_color, screen.width = colors, not colors, 400
    hit = Hit("a", "s", f"/x/{text}", TEXT, 1.0, snippet=text)
    for line in output.result_lines(SearchResult([hit], {})):
        screen.print(line)
    report = IngestReport(failures=[Failure(text, "Error", text)])
    for mark in output.report_lines(report, 1.0):
        screen.print(mark, soft_wrap=True)
    return inner.getvalue()


@given(TEXTS)
def test_the_tables_obey_nothing_either(text: str) -> None:
    assert not harmful(drawn(text, colors=False), "\n")


def test_a_name_is_no_markup() -> None:
    text = drawn("[red]cat[/].txt", colors=True)
    assert "[red]cat[/].txt" in text
    plain = Console(file=io.StringIO(), force_terminal=True)
    assert isinstance(output.console(), type(plain))
    assert Path("[red]cat[/].txt").name in text
