"""Asks the engine, as the API does, and keeps what the report counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from benchmarks.harness.reporting import note
from benchmarks.library.questions import Question
from encoder.types import AUDIO, IMAGE, QUERY, TEXT, VIDEO, Item, Modality
from search import Hit, Query, SearchEngine
from search.types import READINGS
from workers.cli.running import engine_of
from workers.config import Settings
from workers.serving.resources import Resources

_KINDS: dict[str, tuple[Modality, ...]] = {"photo": (IMAGE, VIDEO), "heard": (AUDIO, VIDEO)}
_SLACK_S = 0.5
_FILES = "/files/"


@dataclass(frozen=True)
class Answer:
    """What was found for a question.

    Args:
        question: what was asked.
        hits: on the first page.
        own: those of the right file's own kind of segment.
    """

    question: Question
    hits: Sequence[Hit]
    own: Sequence[Hit]

    def rank(self, *, weak: bool = False, own: bool = False) -> int:
        """The place of the first right file, from 0, or 1,000; ``weak``: weak hits count too."""
        shown = [hit for hit in (self.own if own else self.hits) if weak or not hit.weak]
        names = list(dict.fromkeys(file for hit in shown for file in [self._right_of(hit)]))
        return next((place for place, (_, right) in enumerate(names) if right), 1000)

    def _right_of(self, hit: Hit) -> tuple[str, bool]:
        return hit.asset_id, bool(files_of(hit) & self.question.right)

    def page_meets(self) -> bool:
        """Whether the page shows as many right hits as it can, none weak, and nothing else."""
        right = [hit for hit in self.hits if self._right_of(hit)[1] and not hit.weak]
        enough = min(len(self.question.right), 10)
        return len(right) == len(self.hits) and len(files_in(right) & self.question.right) >= enough

    def any_shown(self) -> bool:
        """Whether a hit is not weak."""
        return any(not hit.weak for hit in self.hits)

    @property
    def n_right(self) -> int:
        """How many places right files take."""
        return sum(self._right_of(hit)[1] for hit in self.hits)

    def moment(self) -> int | None:
        """The place among the right recording's moments of the sentence asked for; None: no hit."""
        for hit in self.hits:
            path = next(iter(files_of(hit) & self.question.right), None)
            if path and path in self.question.spans:
                start, end = self.question.spans[path]
                told: Sequence[Any] = (hit, *hit.moments)
                middles = [(m.start_s + m.end_s) / 2 for m in told if m.start_s is not None]
                inside = [start - _SLACK_S <= at <= end + _SLACK_S for at in middles]
                return inside.index(True) if True in inside else 1000
        return None


def files_of(hit: Hit) -> set[str]:
    """The files that a hit stands for, below the library's folder."""
    return {unquote(one.uri).rpartition(_FILES)[2].partition("!")[0] for one in (hit, *hit.stack)}


def files_in(hits: Sequence[Hit]) -> set[str]:
    """The files that hits stand for."""
    return {file for hit in hits for file in files_of(hit)}


def ingest(files: Path, store: Path) -> None:
    """Ingest as a user does."""
    anymodal = Path(sys.executable).with_name("anymodal")
    command = [str(word) for word in (anymodal, "ingest", files, "--store", store, "--json")]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    said = json.loads(ran.stdout)
    note(
        f"{said['ingested']} files ingested, {len(said['failures'])} set aside: {said['failures']}"
    )


@contextmanager
def engine_over(store: Path) -> Iterator[SearchEngine]:
    """An engine over a store with the default settings."""
    with ExitStack() as stack:
        yield engine_of(Resources(Settings(store=str(store))), stack)


def ask(engine: SearchEngine, question: Question, **options: Any) -> Answer:
    """Search for a question with the defaults of the API, and with other ``options`` of `Query`."""
    query = Query([Item(TEXT, question.text, QUERY)], understand=READINGS, **options)
    hits = engine.search(query).hits
    own: Sequence[Hit] = ()
    if question.right and question.group != "filter":
        kinds = _KINDS.get(question.group, (TEXT,)) if _is_text(question) else (IMAGE,)
        own = engine.search(Query(query.items, kinds, understand=READINGS, **options)).hits
    return Answer(question, hits, own)


def asked_of(engine: SearchEngine, wanted: Sequence[Question], **options: Any) -> list[Answer]:
    """Search for each question; see `ask`."""
    return [ask(engine, question, **options) for question in wanted]


def _is_text(question: Question) -> bool:
    pictures = all(path.startswith("photos/") for path in question.right)
    return not pictures or question.group in _KINDS
