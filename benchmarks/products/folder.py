"""A mixed folder and what is asked of it; fetched or made, never committed.

Protocol, written before the first run. 130 documents are one paragraph of XQuAD each (the first 130
of 240), in turn as text, Markdown, HTML, PDF, Word and mail; 40 pictures are the first of every
25th class of imagenet-sample-images; 30 sounds are three of each class of ESC-10. A question of
XQuAD (the first two of each paragraph) has its paragraph's file as answer, the name of a class any
file of the class. All files compete. Counted is whether the first file, and whether one of the
first ten, answers.
"""

from __future__ import annotations

import json
from email.message import EmailMessage
from pathlib import Path
from shutil import copy

import numpy as np

from benchmarks.bundle_quality.questions import XQUAD
from benchmarks.bundle_quality.speech import ESC_10
from benchmarks.corpora import picture_sets
from benchmarks.retrieval.pictures import WNIDS
from encoder.models.sources.bundle.tables import IMAGE_LABELS
from examples.texts import write_pdf
from tests.support.documents import write_docx

Asked = dict[str, list[tuple[str, list[str]]]]
"""For each kind of file: questions, and the names of the files that answer."""
N_DOCUMENTS, _PICTURES, _SOUNDS = 130, 25, 3
_FORMS = ("txt", "md", "html", "pdf", "docx", "eml")
_LINE = 75


def make_folder(folder: Path, samples: Path, one_in: int = 1) -> Asked:
    """Write the files, or about one in so many, and return the questions."""
    folder.mkdir(parents=True)
    asked: Asked = {
        "documents": _documents(folder, N_DOCUMENTS // one_in),
        "pictures": _pictures(folder, samples, _PICTURES * one_in),
        "sounds": _sounds(folder, max(1, _SOUNDS // one_in)),
    }
    return asked


def _documents(folder: Path, n: int) -> list[tuple[str, list[str]]]:
    data = json.loads((XQUAD.files() / "xquad.en.json").read_text("utf-8"))["data"]
    blocks = [(article["title"], one) for article in data for one in article["paragraphs"]]
    questions = []
    for number, (title, block) in enumerate(blocks[:n]):
        name = f"{number:03}.{_FORMS[number % len(_FORMS)]}"
        _write(folder / name, title.replace("_", " "), block["context"])
        questions += [(one["question"], [name]) for one in block["qas"][:2]]
    return questions


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
    """Lines for a page, in the letters that its font has."""
    import textwrap

    plain = text.encode("ascii", "ignore").decode().translate(str.maketrans("()\\", "[]/"))
    return tuple(textwrap.wrap(plain, _LINE))


def _pictures(folder: Path, samples: Path, every: int) -> list[tuple[str, list[str]]]:
    paths = picture_sets.samples(samples)
    classes = list(zip(WNIDS.read_text().split(), np.load(IMAGE_LABELS)["names"], strict=True))
    for wnid, _ in classes[::every]:
        copy(paths[wnid], folder / f"{wnid}.jpg")  # without the name of the class
    return [(str(name), [f"{wnid}.jpg"]) for wnid, name in classes[::every]]


def _sounds(folder: Path, n: int) -> list[tuple[str, list[str]]]:
    questions = []
    for of_class in sorted(path for path in ESC_10.files().iterdir() if path.name[:3].isdigit()):
        names = []
        for number, path in enumerate(sorted(of_class.iterdir())[:n]):
            names.append(f"{of_class.name[:3]}-{number}{path.suffix}")
            copy(path, folder / names[-1])
        questions.append((of_class.name[6:], names))
    return questions
