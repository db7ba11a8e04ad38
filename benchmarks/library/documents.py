"""Documents of a mixed library, beside others: the files that all of them read.

All documents and mails of a library of `benchmarks.library` but PDF and OpenDocument, for which
txtai's reader needs models of a hub or a further package; in three languages, flat in one folder.
Asked are the library's English questions whose every answer is among them, since MiniLM, which all
can run without a hub, is an English model. Written before the first run.
"""

from __future__ import annotations

from pathlib import Path
from shutil import copy

from benchmarks.library.corpus import SOURCES, make
from benchmarks.library.questions import questions
from benchmarks.products.folder import Asked

_FOLDERS = ("office", "articles", "news", "mails")


def copy_documents(library: Path, half: str, folder: Path) -> Asked:
    """Copy a library's documents; return the questions, and the names of the files that answer."""
    folder.mkdir(parents=True)
    made = make(library, SOURCES[half])
    listed = [path for path in made if path.startswith(_FOLDERS)]
    names = {one: one.replace("/", "+") for one in listed if not one.endswith((".pdf", ".odt"))}
    for path, name in names.items():
        copy(library / "files" / path, folder / name)
    asked = [one for one in questions(made, half) if one.language == "en" and one.right]
    answered = [one for one in asked if one.right <= names.keys()]
    return {"documents": [(one.text, [names[path] for path in one.right]) for one in answered]}
