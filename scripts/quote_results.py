"""Fill the figures that pages quote from ``benchmarks/results/``.

A page marks a quotation by a comment, ``<!--q section · row · column-->figure<!--/q-->``: the title
of a section (or ``title › words`` for the part below a line in bold that begins with the words),
the first cells of one of its rows with ``;`` between them, and a column. The first figure in a cell
is quoted; ``column!`` quotes the whole cell, with bars met and missed. ``section · = · pattern``
quotes the group of a regular expression, and ``quotation ÷ quotation`` the ratio of two figures;
``÷!`` says "lost" if that is below 1.

    python -m scripts.quote_results            # write
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
PAGES = [RESULTS, *(RESULTS.with_name(name) for name in ("article.md", "comparison.md"))]
_QUOTE = re.compile(r"(<!--q (?P<what>.+?)-->)(?P<said>.*?)(<!--/q-->)", re.DOTALL)
_FIGURE = re.compile(r"[-+]?[\d.,]*\d(?: %)?")


def filled(page: str, results: str) -> str:
    """The page with all quotations filled in from the results.

    Raises:
        SystemExit: what a quotation names does not exist, or is not unique.
    """
    sections = dict(_sections(results))

    def quoted(match: re.Match[str]) -> str:
        said = [_said(sections, what) for what in re.split(" ÷!? ", match["what"])]
        figure = said[0] if len(said) == 1 else _ratio(said)
        lost = ", **lost**" * (" ÷! " in match["what"] and float(figure) < 1)
        return f"{match[1]}{figure}{lost}{match[4]}"

    return _QUOTE.sub(quoted, page)


def all_results() -> str:
    """What can be quoted: the sections of all pages of results."""
    pages = [RESULTS, *sorted(RESULTS.with_name("results").glob("*.md"))]
    return "\n".join(page.read_text() for page in pages)


def _said(sections: dict[str, str], what: str) -> str:
    parts = [part.strip() for part in what.split(" · ")]
    title, _, below = parts[0].partition(" › ")
    if len(parts) != 3 or title not in sections:
        raise SystemExit(f"There is no section for the quotation {what!r}.")
    said = _find(_below(sections[title], below), parts[1], parts[2])
    if said is None:
        raise SystemExit(f"{what!r} is not in the results, or there several times.")
    return said


def _ratio(figures: list[str]) -> str:
    """The first figure divided by the second, to three digits."""
    first, second = (float(figure.replace(",", "")) for figure in figures)
    return f"{first / second:.2f}" if first < 10 * second else f"{first / second:.0f}"


def _sections(results: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^## ", results, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        yield title.strip(), body


def _below(section: str, heading: str) -> str:
    """The part of a section below a line in bold; all of it without one."""
    parts = re.split(r"^\*\*", section, flags=re.MULTILINE)
    return "".join(part for part in parts if part.startswith(heading)) if heading else section


def _find(section: str, row: str, column: str) -> str | None:
    """What is quoted; None unless it is there exactly once."""
    if row == "=":
        return _only(re.findall(column, " ".join(section.split())))
    whole = column.endswith("!")
    cell = _only(list(_cells(section, row.split(";"), column.rstrip("!"))))
    if cell is None or whole:
        return cell
    figure = _FIGURE.search(cell)
    return figure[0] if figure else None


def _cells(section: str, row: list[str], column: str) -> Iterator[str]:
    wanted, headings = [part.strip() for part in row], list[str]()
    lines = section.splitlines()
    for number, line in enumerate(lines):
        if not line.startswith("|"):
            continue
        cells = [cell.strip().strip("*") for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
        if number + 1 < len(lines) and lines[number + 1].startswith("| ---"):
            headings = cells
        elif cells[: len(wanted)] == wanted and column in headings:
            yield cells[headings.index(column)]


def _only(found: list[str]) -> str | None:
    return found[0] if len(found) == 1 else None


def main() -> None:
    """Write the pages."""
    for page in PAGES:
        page.write_text(filled(page.read_text(), all_results()))
        sys.stdout.write(f"{page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
