"""What a person sees in a terminal, and what a pipe gets."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.types import Hit
from workers.job_types import JobView
from workers.reports import IngestReport

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table


def wants_json(as_json: bool) -> bool:
    """JSON when asked for, and always into a pipe."""
    return as_json or not sys.stdout.isatty()


def print_json(facts: Mapping[str, Any]) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(facts, ensure_ascii=False, indent=2) + "\n")


def console(*, stderr: bool = False) -> Console:
    """A rich console."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def place_of(hit: Hit) -> str:
    """The time or the characters of a hit, for people.

    >>> from encoder.types import AUDIO
    >>> place_of(Hit("a", "s", "/x.wav", AUDIO, 1.0, start_s=65.0, end_s=70.0))
    '1:05–1:10'
    """
    if hit.start_s is not None:
        end_s = hit.end_s if hit.end_s is not None else hit.start_s
        return f"{_clock(hit.start_s)}–{_clock(end_s)}"
    if hit.char_start is not None:
        return f"characters {hit.char_start}–{hit.char_end}"
    return ""


def hits_table(hits: Sequence[Hit], title: str = "") -> Table:
    """Hits as a table, best first."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title) or None, title_justify="left", expand=True)
    for heading, justify in (("score", "right"), ("kind", "left"), ("file", "left")):
        table.add_column(heading, justify=justify, no_wrap=heading != "file")  # type: ignore[arg-type]
    table.add_column("where", no_wrap=True)
    table.add_column("text", ratio=1, overflow="ellipsis", no_wrap=True)
    for hit in hits:
        name = Path(hit.uri).name or hit.uri
        snippet = " ".join(hit.snippet.split())
        table.add_row(
            f"{hit.score:.2f}", str(hit.modality), escape(name), place_of(hit), escape(snippet)
        )
    return table


def latency_line(latency_s: Mapping[str, float]) -> str:
    """Stages in milliseconds, in one line.

    >>> latency_line({"search": 0.0123, "total": 0.02})
    'search 12.3 ms · total 20.0 ms'
    """
    return " · ".join(f"{stage} {seconds * 1000:.1f} ms" for stage, seconds in latency_s.items())


def report_lines(report: IngestReport, wall_s: float) -> list[str]:
    """An ingest's summary for people, in rich markup."""
    from rich.markup import escape

    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(report.segments.items()))
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.stage_s.items())
    lines = [
        f"[bold]{report.ingested}[/] files ingested ({kinds or 'no'} segments), "
        f"{report.unchanged} unchanged, {len(report.failures)} set aside, in {wall_s:.1f} s",
        f"[dim]stages: {stages}[/]",
    ]
    lines += [
        f"[yellow]set aside[/] {escape(failure.uri)}: {escape(failure.reason)}"
        for failure in report.failures
    ]
    return lines


def jobs_table(jobs: Sequence[JobView]) -> Table:
    """Jobs, newest first."""
    from datetime import datetime

    from rich.table import Table

    table = Table()
    for heading in ("job", "state", "begun", "files", "done", "set aside", "left"):
        table.add_column(heading, justify="left" if heading in ("job", "state") else "right")
    for job in jobs:
        begun = datetime.fromtimestamp(job.created).strftime("%d %b %H:%M")
        left = _clock(job.left_s) if job.left_s is not None else ""
        numbers = (job.n_files, job.n_done, job.failed)
        state = "planner lost" if job.planner_lost else job.state
        table.add_row(job.job_id, state, begun, *map(str, numbers), left)
    return table


def job_lines(job: JobView) -> list[str]:
    """How a job stands, for people, in rich markup."""
    from rich.markup import escape

    rates = ", ".join(f"{kind} {n / job.seconds:.1f}/s" for kind, n in job.segments.items())
    lost = " (its planner is gone: anymodal jobs retry)" if job.planner_lost else ""
    left = f", {_clock(job.left_s)} left" if job.left_s is not None else ""
    return [
        f"[bold]{job.job_id}[/] {job.state}{lost}: {escape(', '.join(job.paths))}",
        f"{job.n_done} of {job.n_files} files in {_clock(job.seconds)}{left}: {job.ingested} "
        f"ingested, {job.unchanged} unchanged, {job.failed} set aside",
        f"{job.n_bytes / 1e6:.1f} MB, segments: {rates or 'none'}",
        f"[dim]{job.open_shards} shards open, {job.shards_at_work} of them at work[/]",
    ]


def job_note(job: JobView) -> str:
    """What stands behind a job's progress bar."""
    parts = [f"{kind} {n / job.seconds:.1f}/s" for kind, n in sorted(job.segments.items())]
    parts += [f"{job.n_bytes / 1e6:.0f} MB"]
    parts += [f"{job.failed} set aside"] if job.failed else []
    return " · ".join(parts)


def progress_bar() -> Progress:
    """A progress bar on standard error; silent where that is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    screen = console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=screen,
        disable=not screen.is_terminal,
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
