"""A mixed folder and what is asked of it; fetched or made, never committed.

Protocol, written before the first run. Of 200 files 130 are documents, one paragraph of XQuAD each
(the first of 240), in turn as text, Markdown, HTML, PDF, Word and mail; 40 are pictures, one of
every 25th class of imagenet-sample-images; 30 are sounds, three of each class of ESC-10. A question
of XQuAD (the first two of each paragraph) has its paragraph's file as answer, the name of a class
any file of the class. All files compete. Counted is whether the first file, and whether one of the
first ten, answers.
"""

from __future__ import annotations

import textwrap
from email.message import EmailMessage
from pathlib import Path
from shutil import copy
from typing import NamedTuple

import numpy as np

from benchmarks.bundle_quality.questions import articles
from benchmarks.corpora import picture_sets
from benchmarks.harness.sources import ESC_10
from benchmarks.library.writing import write_docx
from encoder.models.bundle.declaration import IMAGE_LABELS
from examples.texts import write_pdf

Asked = dict[str, list[tuple[str, list[str]]]]
"""For each kind of file: questions, and the names of the files that answer."""
N_FILES = 200
_DOCUMENTS, _PICTURES, _SOUNDS = 0.65, 0.2, 0.015
"""Shares of the files; for sounds, of each of the ten classes."""
_FORMS = ("txt", "md", "html", "pdf", "docx", "eml")
_LINE = 75


def make_folder(folder: Path, n_files: int = N_FILES) -> Asked:
    """Write about ``n_files`` files into a new folder, at most 200; return the questions."""
    folder.mkdir(parents=True)
    return {
        "documents": _documents(folder, round(_DOCUMENTS * n_files)),
        "pictures": _pictures(folder, round(_PICTURES * n_files)),
        "sounds": _sounds(folder, max(1, round(_SOUNDS * n_files))),
    }


class _Document(NamedTuple):
    title: str
    text: str
    questions: list[str]


def _documents(folder: Path, n: int) -> list[tuple[str, list[str]]]:
    questions = []
    for number, document in enumerate(_paragraphs()[:n]):
        name = f"{number:03}.{_FORMS[number % len(_FORMS)]}"
        _write(folder / name, document.title, document.text)
        questions += [(question, [name]) for question in document.questions]
    return questions


def _paragraphs() -> list[_Document]:
    data = articles("en")
    blocks = [(article["title"], one) for article in data for one in article["paragraphs"]]
    return [
        _Document(
            title.replace("_", " "), one["context"], [asked["question"] for asked in one["qas"][:2]]
        )
        for title, one in blocks
    ]


def _write(path: Path, title: str, text: str) -> None:
    if path.suffix == ".pdf":
        write_pdf(path, _lines(text))
    elif path.suffix == ".docx":
        write_docx(path, [(title, text)])
    elif path.suffix == ".eml":
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = title, "a@example.org", "b@example.org"
        mail.set_content(text)
        path.write_bytes(mail.as_bytes())
    elif path.suffix == ".html":
        path.write_text(f"<!doctype html><html><title>{title}</title><body><p>{text}</p></html>")
    else:
        path.write_text(f"# {title}\n\n{text}\n" if path.suffix == ".md" else text)


def _lines(text: str) -> tuple[str, ...]:
    """Lines for a page, with only the letters that its font has."""
    plain = text.encode("ascii", "ignore").decode().translate(str.maketrans("()\\", "[]/"))
    return tuple(textwrap.wrap(plain, _LINE))


def _pictures(folder: Path, n: int) -> list[tuple[str, list[str]]]:
    paths = picture_sets.samples()
    classes = list(zip(sorted(paths), np.load(IMAGE_LABELS)["names"], strict=True))
    chosen = [classes[number * len(classes) // n] for number in range(n)]
    for wnid, _ in chosen:
        copy(paths[wnid], folder / f"{wnid}.jpg")  # without the name of the class
    return [(str(name), [f"{wnid}.jpg"]) for wnid, name in chosen]


def _sounds(folder: Path, n: int) -> list[tuple[str, list[str]]]:
    questions = []
    for of_class in sorted(path for path in ESC_10.files().iterdir() if path.name[:3].isdigit()):
        names = []
        for number, path in enumerate(sorted(of_class.iterdir())[:n]):
            names.append(f"{of_class.name[:3]}-{number}{path.suffix}")
            copy(path, folder / names[-1])
        questions.append((of_class.name[6:], names))
    return questions
