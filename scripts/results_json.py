"""The pages of results as JSON, for machines: made on demand, so that they cannot differ.

python -m scripts.results_json FILE        # `make docs` writes site/results.json
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.quote_results import RESULTS

_COMMENT = re.compile(r"<!--.*?-->")


def as_json(page: Path) -> list[dict[str, Any]]:
    """The sections of a page: title, the lines that say where it comes from, and tables.

    A table has its headings and its rows, all cells as they are written.
    """
    parts = re.split(r"^## ", page.read_text("utf-8"), flags=re.MULTILINE)
    return [_section(page.stem, part) for part in parts[1:]]


def _section(page: str, part: str) -> dict[str, Any]:
    title, _, body = part.partition("\n")
    origin = body.strip().partition("\n\n")[0].replace("\n", " ")
    return {"page": page, "title": title, "origin": origin, "tables": list(tables(body))}


def tables(body: str) -> Iterator[dict[str, Any]]:
    """The tables of a text in Markdown."""
    for block in re.findall(r"(?:^\|.*\n?)+", body, re.MULTILINE):
        headings, _, *rows = [_cells(line) for line in block.splitlines()]
        yield {"headings": headings, "rows": rows}


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", _COMMENT.sub("", line).strip()[1:-1])
    return [cell.strip().strip("*") for cell in cells]


def main(file: str) -> None:
    """Write the front page's table and all sections."""
    pages = sorted(RESULTS.with_name("results").glob("*.md"))
    front = next(tables(RESULTS.read_text("utf-8")))
    found = {"front": front, "sections": [one for page in pages for one in as_json(page)]}
    Path(file).write_text(json.dumps(found, ensure_ascii=False, indent=1), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
