"""The progress of long work in this process, for people who look at it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[str], None]
"""Called after each step with its name."""


@contextmanager
def progress_bar(title: str, n_steps: int, *, show: bool) -> Iterator[Advance]:
    """Show a bar on a terminal or in a notebook; yields the function that counts its steps."""
    if not (show and n_steps):
        yield lambda _step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    # the command line's stderr shows escape sequences instead of passing them on
    screen = Console(file=getattr(sys.stderr, "unfiltered", sys.stderr))
    if not (screen.is_terminal or screen.is_jupyter):
        yield lambda _step: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[step]}"),
    )
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(title, total=n_steps, step="")
        yield lambda step: bar.update(task, advance=1, step=step)
