"""Sections of ``RESULTS.md``: each benchmark replaces its own and leaves the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from scripts import quote_results

RESULTS = Path(__file__).with_name("RESULTS.md")
_HEAD = """# Results

Each section is written by the command under its title; shared machines differ, so trust the
ratios more than the times.
"""


def cpu_model() -> str:
    """The processor's name and how many cores this process may use."""
    import os

    facts = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.*)", facts)
    return f"{name[1] if name else 'unknown'}, {len(os.sched_getaffinity(0))} cores"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def write_section(title: str, command: str, body: str, path: Path = RESULTS) -> None:
    """Replace the section ``title``, or add it at the end; the date and the CPU come by themselves.

    What pages quote of ``RESULTS.md`` follows.

    Args:
        title: the section's heading.
        command: what anyone can run to measure again.
        body: Markdown.
    """
    text = path.read_text() if path.exists() else _HEAD
    when = f"{date.today().isoformat()}, {cpu_model()}"
    section = f"## {title}\n\n`{command}` · {when}\n\n{body.strip()}\n"
    old = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if old.search(text):
        text = old.sub(lambda _: section + "\n", text).rstrip() + "\n"
    else:
        text = text.rstrip() + "\n\n" + section
    path.write_text(text)
    if path == RESULTS:
        quote_results.main()
