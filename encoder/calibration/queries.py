"""What people ask for, in several languages: the queries with which a space is calibrated."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("queries.tsv")


@dataclass(frozen=True)
class SampleQuery:
    """A query that nobody's content answers in particular.

    Args:
        language: ISO 639-1.
        kind: ``caption``, ``question``, ``keywords`` or ``name``.
        text: what is asked.
    """

    language: str
    kind: str
    text: str


@cache
def sample_queries() -> Sequence[SampleQuery]:
    """The shipped queries, about 300."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(
            (line for line in file if not line.startswith("#")),
            delimiter="\t",
            quoting=csv.QUOTE_NONE,
        )
        return tuple(SampleQuery(**row) for row in rows)
