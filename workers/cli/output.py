"""Output for terminals and for pipes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from workers.observe.printable import one_line, printable, safe_json, unfiltered

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
    from rich.segment import Segment
    from rich.table import Table

    from search.jobs import Job
    from search.types import Explanation, Hit, Moment, SearchResult, Understood
    from workers.pipeline.reports import IngestReport


JSON = "anymodal.json"
"""Where click's context holds whether JSON was asked for."""


def wants_json() -> bool:
    """JSON if asked for, and always into a pipe."""
    ctx = click.get_current_context(silent=True)
    return bool(ctx and ctx.meta.get(JSON)) or not sys.stdout.isatty()


def print_json(facts: Mapping[str, Any]) -> None:
    sys.stdout.write(safe_json(json.dumps(facts, ensure_ascii=False, indent=2)) + "\n")


def show(
    facts: Mapping[str, Any], lines: Callable[[Mapping[str, Any]], Iterable[RenderableType]]
) -> None:
    """JSON into a pipe, lines on a terminal."""
    if wants_json():
        print_json(facts)
        return
    screen = console()
    for line in lines(facts):
        screen.print(line, soft_wrap=isinstance(line, str))


def console(*, stderr: bool = False) -> Console:
    """A rich console that only renders rich's own markup and escape sequences."""
    from rich.console import Console

    class SafeConsole(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=printable(segment.text))

    return SafeConsole(file=unfiltered(sys.stderr if stderr else sys.stdout), highlight=False)


def marked(text: str) -> str:
    """Escape untrusted text for a line of rich markup."""
    from rich.markup import escape

    return escape(one_line(text))


def as_object(facts: Mapping[str, Any]) -> Any:
    """A plain result with attribute access, without importing its class."""
    return json.loads(json.dumps(facts), object_hook=lambda mapping: SimpleNamespace(**mapping))


def place_of(hit: Hit | Moment) -> str:
    """A hit's time, page or character range, for people.

    >>> from encoder.types import AUDIO
    >>> from search.types import Hit
    >>> place_of(Hit("a", "s", "/x.wav", AUDIO, 1.0, start_s=65.0, end_s=70.0))
    '1:05–1:10'
    """
    if hit.start_s is not None:
        end_s = hit.end_s if hit.end_s is not None else hit.start_s
        return f"{clock(hit.start_s)}–{clock(end_s)}"
    location = hit.place if isinstance(hit.place, Mapping) else vars(hit.place)
    if location:
        return ", ".join(
            str(value) if name == "heading" else f"{name} {value}"
            for name, value in location.items()
        )
    if hit.char_start is not None:
        return f"characters {hit.char_start}–{hit.char_end}"
    return ""


def hit_lines(hits: Iterable[Hit]) -> Iterator[RenderableType]:
    """Each hit by its file and place, what it says there, and its further moments."""
    from rich.text import Text

    from search.likelihood import likelihood

    for hit in hits:
        likely = likelihood(hit.probability, weak=hit.weak)
        facts = filter(None, [place_of(hit), likely, str(hit.modality), f"{hit.score:.2f}"])
        name = marked(Path(hit.uri).name or hit.uri)
        alike = f" [dim]+{len(hit.stack)} alike[/]" if hit.stack else ""
        yield f"[bold]{name}[/]{alike}  [dim]{marked(' · '.join(facts))}[/]"
        if hit.snippet:
            yield _Excerpt(hit, 2)
        for moment in hit.moments:
            if moment.snippet:
                yield _Excerpt(moment, 1, f"{place_of(moment)}: ".removeprefix(": "))
        silent = [place_of(moment) for moment in hit.moments if not moment.snippet]
        if places := ", ".join(filter(None, silent)):
            yield Text(f"{_INDENT}also {places}", "dim")


_INDENT = "    "


class _Excerpt:
    """What a segment says, from about its first match on, in a few lines of the terminal."""

    def __init__(self, segment: Hit | Moment, n_lines: int, place: str = "") -> None:
        self._segment, self._n_lines, self._place = segment, n_lines, place

    def __rich_console__(
        self, screen: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        from rich.text import Text

        width = max(options.max_width - len(_INDENT), 20)
        text = Text("".join(" " if sign.isspace() else sign for sign in self._segment.snippet))
        for start, end in self._segment.matches:
            text.stylize("bold", start, end)
        first = min((start for start, _ in self._segment.matches), default=0)
        if first > width // 2 and len(text) > self._n_lines * width:
            text = Text("…") + text[text.plain.rfind(" ", 0, first - width // 4) + 1 :]
        lines = (Text(self._place) + text).wrap(screen, width)
        if len(lines) > self._n_lines:
            lines[self._n_lines - 1].truncate(width - 1)
            lines[self._n_lines - 1].append("…")
        for line in lines[: self._n_lines]:
            yield Text(_INDENT, "dim" if self._n_lines == 1 else "") + line


def result_lines(
    result: SearchResult, looked: Mapping[str, Any] | None = None, *, shows_weak: bool = False
) -> Iterator[RenderableType]:
    from rich.text import Text

    yield from map(_understood, result.understood)
    for warning in result.warnings:
        yield f"[yellow]{marked(warning)}[/]"
    if not result.hits:
        yield Text(f"Nothing found{_looked(looked) if looked else ''}.")
        return
    strong = [hit for hit in result.hits if not hit.weak]
    weak = [hit for hit in result.hits if hit.weak]
    yield from hit_lines(strong)
    if weak and shows_weak:
        yield "[dim]Weaker matches[/]"
        yield from hit_lines(weak)
    elif weak:
        weaker = f"{len(weak)} weaker match{'' if len(weak) == 1 else 'es'}"
        yield f"[dim]{'' if strong else 'Nothing stands out. '}{weaker}: --weak[/]"
    if not result.judged and not any(reading.only for reading in result.understood):
        yield "[dim]Not judged: hits of queries with files or exclusions are ranked only.[/]"
    for hit in result.hits:
        if hit.explanation and (shows_weak or not hit.weak):
            yield _explained(hit.explanation)
    if result.next_cursor and result.total != len(strong):
        yield f"[dim]{_amount(result, len(strong))}[/]"


def _amount(result: SearchResult, n_strong: int) -> str:
    """How many hits there are behind a page, and how to see them."""
    if result.total is None:
        return "More: --limit, or --page with the cursor of -v"
    n_pages = -(-result.total // max(len(result.hits), 1))
    behind = f" in {n_pages} pages: --limit, or --page with the cursor of -v" if n_pages > 1 else ""
    return f"{n_strong} of {result.total}{behind}"


def _understood(understood: Understood) -> str:
    """What was read from the words.

    >>> from search.types import Understood
    >>> _understood(Understood("date", "May 2024", {"field": "taken", "gte": "2024-05-01"}))
    '[dim]“May 2024” is a date: what shows it comes first. Search for it as words: --literal[/]'
    """
    use = "only what shows it is listed" if understood.only else "what shows it comes first"
    words = marked(f"“{understood.text}” is a {understood.kind}: {use}.")
    return f"[dim]{words} Search for it as words: --literal[/]"


def _looked(facts: Mapping[str, Any]) -> str:
    """What was covered.

    >>> _looked({"store": "/s", "assets": 40, "matching_assets": 2, "modalities": ["image"],
    ...          "score_threshold": 3.0})
    ' among 40 assets in /s: 2 match the filter, only image was searched, no score reached 3'
    """
    matching, lowest = facts["matching_assets"], facts["score_threshold"]
    parts = [f"{matching} match the filter"] if matching is not None else []
    if facts["modalities"]:
        parts += [f"only {', '.join(facts['modalities'])} was searched"]
    parts += [f"no score reached {lowest:g}"] if lowest is not None else []
    why = f": {', '.join(parts)}" if parts else ""
    return f" among {facts['assets']} assets in {facts['store']}{why}"


def _explained(why: Explanation) -> str:
    """Explain one score in one line of rich markup.

    >>> from search.types import Explanation, TermScore
    >>> term = TermScore(0, "text", 1.0, 0.42, 2.5)
    >>> _explained(Explanation([term], 0.42, 2.5, 1, 7.1, 2, 3.0, 1, dense=2.5, words=0.5))
    '1. score 3.00 = dense 2.50 + words 0.50: text ×1 cosine 0.420 → 2.50; rank 1 by cosine, \
rank 2 by words (BM25 7.1)'
    """
    added = [("words", why.words), ("named", why.named), ("evidence", why.evidence)]
    summands = [("dense", why.dense), *((n, v) for n, v in (*added, ("prior", why.prior)) if v)]
    total = " + ".join(f"{name} {value:.2f}" for name, value in summands)
    terms = ", ".join(
        f"{term.modality} ×{term.weight:g} cosine {term.cosine:.3f} → {term.score:.2f}"
        for term in why.terms
    )
    places = [f"rank {why.dense_rank} by cosine"] if why.dense_rank else []
    if why.lexical_score is not None:
        places.append(f"rank {why.lexical_rank} by words (BM25 {why.lexical_score:.1f})")
    return f"{why.rank}. score {why.score:.2f} = {total}: {terms}; {', '.join(places)}"


def latency_line(latency_s: Mapping[str, float]) -> str:
    """Stages in milliseconds, in one line.

    >>> latency_line({"search": 0.0123, "total": 0.02})
    'search 12.3 ms · total 20.0 ms'
    """
    return " · ".join(f"{stage} {seconds * 1000:.1f} ms" for stage, seconds in latency_s.items())


def report_lines(report: IngestReport, wall_s: float) -> Iterator[str]:
    kinds = ", ".join(f"{n} {modality}" for modality, n in sorted(report.segments.items()))
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.stage_s.items())
    yield (
        f"[bold]{report.ingested}[/] files ingested ({kinds or 'no'} segments), "
        f"{report.unchanged} unchanged, {len(report.failures)} set aside, in {wall_s:.1f} s"
    )
    yield f"[dim]stages: {stages}[/]"
    yield from count_lines(report)
    for failure in report.failures:
        yield f"[yellow]set aside[/] {marked(failure.uri)}: {marked(failure.reason)}"


_GONE = {
    "dropped": "former locations of files removed",
    "gone": "gone and no longer found; --prune removes them after 30 days",
    "pruned": "gone and removed",
}


def count_lines(counts: IngestReport | Job) -> Iterator[str]:
    """What was left out, is gone, was merged or cannot be found."""
    if counts.left_out:
        yield f"{counts.left_out} files of other kinds left out"
    for name, meaning in _GONE.items():
        if n := counts.gone.get(name):
            yield f"{n} {meaning}"
    n_encoded, n_kept = counts.tokens.get("encoded", 0), counts.tokens.get("kept", 0)
    if n_kept < n_encoded:
        share = n_kept / n_encoded
        yield f"[dim]{n_encoded} tokens of text encoded, {share:.0%} kept to the end[/]"
    for limit, n_files in sorted(counts.limits.items()):
        yield f"{n_files} files: {marked(limit)}"


def table(
    headings: Sequence[str], rows: Iterable[Iterable[object]], title: str = "", *, n_left: int = 1
) -> Table:
    """A table whose first ``n_left`` columns are aligned to the left.

    Cells are untrusted texts and numbers, `rich.text.Text`, or None for an empty one.
    """
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=marked(title) or None, title_justify="left")
    for number, heading in enumerate(headings):
        justify: JustifyMethod = "left" if number < n_left else "right"
        grid.add_column(heading, justify=justify, overflow="fold")
    for row in rows:
        filled = ("" if cell is None else cell for cell in row)
        grid.add_row(*(cell if isinstance(cell, Text) else marked(str(cell)) for cell in filled))
    return grid


@contextmanager
def progress(task: str, unit: str = "files") -> Iterator[Callable[..., object]]:
    """A progress bar on standard error, for what calls a function; none without a terminal.

    The function takes how much is done, the total (None if that is not known), and a note.
    """
    if not sys.stderr.isatty():
        yield lambda _n_done, _n_all, _note="": None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console(stderr=True),
    ) as bar:
        row = bar.add_task(marked(task), total=None, note="")
        yield lambda n_done, n_all, note="": bar.update(
            row, completed=n_done, total=n_all and max(n_done, n_all), note=note
        )


@contextmanager
def stages(task: str) -> Iterator[Callable[[str, float], None]]:
    """For what calls a function with its stage and the share of all that is done.

    A progress bar on a terminal, else a line for each stage.
    """
    with progress(task, "%") as bar:
        last_stage = ""

        def say(stage: str, share: float) -> None:
            nonlocal last_stage
            if stage != last_stage and not sys.stderr.isatty():
                click.echo(f"{task}: {stage}", err=True)
            last_stage = stage
            bar(round(100 * share), 100, stage)

        yield say


def clock(seconds: float) -> str:
    minutes, seconds_left = divmod(round(seconds), 60)
    return f"{minutes}:{seconds_left:02d}"


def size(n_bytes: float) -> str:
    """A size for people.

    >>> size(999), size(1_500_000)
    ('999 B', '1.5 MB')
    """
    units, at = ("B", "kB", "MB", "GB", "TB"), 0
    while n_bytes >= 1000 and at < len(units) - 1:
        n_bytes, at = n_bytes / 1000, at + 1
    return f"{n_bytes:.1f} {units[at]}" if at else f"{n_bytes:.0f} B"
