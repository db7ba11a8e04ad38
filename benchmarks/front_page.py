"""The table of ``RESULTS.md``, from the rows that ``front_page.toml`` declares.

Figures are quotations of ``results/``, see `scripts.quote_results`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness.results_pages import FOLDER, table
from scripts.quote_results import RESULTS, all_results, filled

_HEAD = ("what was compared", "ours", "the other", "ratio", "what the other did", "measured")
_BEGIN, _END = "<!-- by python -m benchmarks -->", "<!-- end -->"
_LESS_IS_BETTER = re.compile("^(CPU-)?m?s\\b")


class Row(NamedTuple):
    """A comparison.

    Args:
        what: in words.
        section: of the results.
        ours: a row there, and its column.
        theirs: a row, with its column where that is another; or a figure from elsewhere.
        other: what they are, and what they did and did not do.
    """

    what: str
    section: str
    ours: str
    theirs: str
    other: str

    def cells(self, results: str) -> list[str]:
        """The cells of the row, filled from the results if they have its figures."""
        try:
            return self._filled(results)
        except SystemExit:
            return [self.what, "–", "–", "–", self.other, "not yet"]

    def _filled(self, results: str) -> list[str]:
        column = self.ours.rpartition(" · ")[2]
        ours, theirs = f"{self.section} · {self.ours}", self.theirs
        quoted = _quoted(ours, results)
        if re.fullmatch(r"[\d.]+", theirs):
            ratio = f"{_value(quoted) / float(theirs):.2f}"
            figure = float(ratio)
        else:
            theirs = f"{self.section} · {theirs}" + f" · {column}" * (" · " not in theirs)
            pair = (theirs, ours) if _LESS_IS_BETTER.search(column) else (ours, theirs)
            theirs, ratio = (_quoted(what, results) for what in (theirs, " ÷ ".join(pair)))
            figure = _value(ratio)
        lost = ", **lost**" * (figure < 1)
        return [self.what, quoted, theirs, ratio + lost, self.other, self._measured(results)]

    def _measured(self, results: str) -> str:
        """The date, and the page with the command."""
        title = self.section.partition(" › ")[0]
        page = next(p for p in sorted(FOLDER.glob("*.md")) if f"\n## {title}\n" in p.read_text())
        (date,) = re.findall(rf"^## {re.escape(title)}\n\n.*?(\d{{4}}-\d\d-\d\d)", results, re.M)
        return f"{date}, [{page.stem}](results/{page.name})"


def _quoted(what: str, results: str) -> str:
    return filled(f"<!--q {what}-->0<!--/q-->", results)


def _value(quoted: str) -> float:
    (figure,) = re.findall("-->([^<]+)<", quoted)
    return float(figure.replace(",", ""))


def write() -> str:
    """Write the table, and return it as people see it."""
    results, page = all_results(), RESULTS.read_text("utf-8")
    rows = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))["rows"]
    shown = table(_HEAD, [Row(**row).cells(results) for row in rows])
    head, rest = page.split(_BEGIN)
    _, tail = rest.split(_END)
    RESULTS.write_text(f"{head}{_BEGIN}\n\n{shown}\n\n{_END}{tail}", "utf-8")
    return re.sub("<!--.*?-->", "", shown)
