"""Sections of the pages in ``results/``: each benchmark replaces its own and leaves the others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "results"
_PAGES = {
    "products": r"Beside others",
    "encoding": r"Speed of|As graphs|Two commits",
    "quality": r"A mixed library|Foreign data|Questions",
    "quantization": r"Quantized|ResNet-50",
    "dsre": r"Dynamic sparse",
    "pipeline": r"Jobs|Time of",
    "search": r"Search",
}
"""How the titles of a page's sections begin."""
_LIBRARIES = ("onnxruntime", "numpy", "torch", "ctranslate2", "pymilvus", "openvino")


def cpu_model() -> str:
    """The processor's name and how many cores this process may use."""
    facts = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.*)", facts)
    n_cores = len(os.sched_getaffinity(0))
    cores = "1 core" if n_cores == 1 else f"{n_cores} cores"
    return f"{name[1] if name else 'unknown'}, {cores}"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def write_section(title: str, command: str, body: str, folder: Path = FOLDER) -> None:
    """Replace the section ``title``, or add it at the end of its page.

    The date, the CPU, the commit and the versions are added. Pages that quote figures are updated.

    Args:
        title: the section's heading; its first words choose the page.
        command: what anyone can run to measure again.
        body: Markdown.
        folder: of the pages.
    """
    page = _page(title, folder)
    text = page.read_text() if page.exists() else f"# {page.stem.capitalize()}\n"
    section = f"## {title}\n\n{_origin(command)}\n\n{body.strip()}\n"
    old = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if old.search(text):
        text = old.sub(lambda _: section + "\n", text).rstrip() + "\n"
    else:
        text = text.rstrip() + "\n\n" + section
    page.write_text(text)
    if folder == FOLDER:
        _quote()


def _quote() -> None:
    """Copy figures to the pages that quote them; the tests fail on a page that cannot be filled."""
    command = [sys.executable, "-m", "scripts.quote_results"]
    subprocess.run(command, cwd=FOLDER.parents[1], check=False)


def _page(title: str, folder: Path) -> Path:
    """The page that has a section, or where one with its title belongs."""
    for page in sorted(folder.glob("*.md")):
        if f"\n## {title}\n" in page.read_text():
            return page
    found = (name for name, titles in _PAGES.items() if re.match(titles, title))
    return folder / f"{next(found, 'others')}.md"


def _origin(command: str) -> str:
    """Command, date, CPU, commit and versions, in one line."""
    return f"`{command}` · {date.today().isoformat()}, {cpu_model()} · {_commit()} · {_versions()}"


def _commit() -> str:
    """The commit that was measured, with ``+`` if files have changed since."""
    words = ["git", "describe", "--always", "--exclude=*", "--dirty=+", "--abbrev=8"]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=FOLDER, check=False)
    return f"commit {ran.stdout.strip() or 'unknown'}"


def _versions() -> str:
    found = [f"Python {sys.version_info.major}.{sys.version_info.minor}"]
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
