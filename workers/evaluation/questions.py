"""Queries and the contents that answer them: from a list, from names, or made up."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from encoder.errors import InputError, MediaError
from encoder.types import TEXT
from ingest import identify, segments
from ingest.config import IngestConfig

_SPACES = str.maketrans("_-", "  ")
_MOST_WORDS, _LEAST_WORDS = 6, 2
"""Of a query that is made up."""

Origin: TypeAlias = Literal["list", "names", "classes", "synthetic"]


@dataclass(frozen=True)
class Content:
    text: str = ""
    file: Path | None = None

    def __str__(self) -> str:
        return str(self.file) if self.file else self.text


@dataclass(frozen=True)
class Question:
    """A query, and how relevant contents are to it: above 0; contents not named are irrelevant."""

    query: Content
    relevant: Mapping[Content, float]


@dataclass(frozen=True)
class QuestionSet:
    """Questions of one origin, and all contents that their answers are sought among."""

    origin: Origin
    questions: Sequence[Question]
    candidates: Sequence[Content]


def read_questions(path: Path, config: IngestConfig, origin: Origin | None = None) -> QuestionSet:
    """Questions of a list, or those that a folder implies.

    A list is CSV with the columns ``query`` or ``query_file``, ``file`` and perhaps ``relevance``.
    Its files are next to it. In a folder a file and the ``.txt`` of the same name are a pair, each
    to be found by the other; or its subfolders name what is in them; or the queries are made up.

    Raises:
        InputError: it has no such questions, or a row lacks something.
    """
    question_set = _of_list(path) if path.is_file() else _of_folder(path, config, origin)
    if not question_set.questions or len(question_set.candidates) < 2:
        raise InputError(
            str(path),
            got="no queries, or fewer than two files to choose from",
            wanted="rows with query and file, photo.jpg beside photo.txt, or folders of classes",
        )
    return question_set


def _of_folder(folder: Path, config: IngestConfig, origin: Origin | None) -> QuestionSet:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if origin in ("names", None):
        question_set = _of_names(files)
        if origin or question_set.questions:
            return question_set
    if origin in ("classes", None):
        question_set = _of_classes(folder, files)
        if origin or question_set.questions:
            return question_set
    return _synthetic(files, config)


def _of_names(files: Sequence[Path]) -> QuestionSet:
    """Questions both ways: the file by its text, and the text by its file."""
    texts = {file.with_suffix(""): file for file in files if file.suffix.lower() == ".txt"}
    pairs = [
        (Content(text=words), Content(file=file))
        for file in files
        if file.suffix.lower() != ".txt" and (text := texts.get(file.with_suffix("")))
        if (words := text.read_text("utf-8", errors="replace").strip())
    ]
    relevant: dict[Content, dict[Content, float]] = defaultdict(dict)
    for query_text, answer_file in pairs:
        relevant[query_text][answer_file] = relevant[answer_file][query_text] = 1.0
    questions = [Question(query, gains) for query, gains in relevant.items()]
    return QuestionSet("names", questions, list(relevant))


def _of_classes(folder: Path, files: Sequence[Path]) -> QuestionSet:
    relevant: dict[Content, dict[Content, float]] = defaultdict(dict)
    for file in files:
        name, *inner = file.relative_to(folder).parts
        if inner:
            relevant[Content(text=name.translate(_SPACES).strip())][Content(file=file)] = 1.0
    if len(relevant) < 2:
        return QuestionSet("classes", [], [])
    questions = [Question(query, gains) for query, gains in relevant.items()]
    return QuestionSet("classes", questions, [content for q in questions for content in q.relevant])


def _of_list(path: Path) -> QuestionSet:
    relevant: dict[Content, dict[Content, float]] = defaultdict(dict)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = set(reader.fieldnames or ())
        if "file" not in names or not names & {"query", "query_file"}:
            got = f"the columns {reader.fieldnames}"
            raise InputError(str(path), got=got, wanted="query or query_file, and file")
        for number, row in enumerate(reader, 2):
            where = f"{path}, row {number}"
            text = (row.get("query") or "").strip()
            query_file = row.get("query_file") or ""
            query = Content(text=text) if text else _file(path.parent, where, query_file)
            answer = _file(path.parent, where, row["file"] or "")
            relevant[query][answer] = _gain(where, row.get("relevance") or 1)
    questions = [
        Question(query, positive)
        for query, gains in relevant.items()
        if (positive := {content: gain for content, gain in gains.items() if gain > 0})
    ]
    candidates = dict.fromkeys(content for gains in relevant.values() for content in gains)
    return QuestionSet("list", questions, list(candidates))


def _file(folder: Path, origin_line: str, name: str) -> Content:
    file = folder / name
    if not name or not file.is_file():
        raise InputError(origin_line, got=repr(name), wanted=f"a file in {folder}")
    return Content(file=file)


def _gain(origin_line: str, relevance: Any) -> float:
    try:
        gain = float(relevance)
    except (TypeError, ValueError):
        gain = -1.0
    if not 0 <= gain < float("inf"):
        raise InputError(
            origin_line, got=f"the relevance {relevance!r}", wanted="a number of at least 0"
        )
    return gain


def _synthetic(files: Sequence[Path], config: IngestConfig) -> QuestionSet:
    """For each text its six rarest words, in their order; for another file the words of its name.

    They share words with their answers, so they are easier than what people ask: good for comparing
    models, but no measure of what people find. Files without such words are only candidates.
    """
    texts = {file: text for file in files if (text := _text(file, config))}
    found_in = Counter(word for text in texts.values() for word in set(_words(text)))
    questions = []
    for file in files:
        query_text = _keywords(texts[file], found_in, len(texts)) if file in texts else _name(file)
        if len(query_text.split()) >= _LEAST_WORDS:
            questions.append(Question(Content(text=query_text), {Content(file=file): 1.0}))
    return QuestionSet("synthetic", questions, [Content(file=file) for file in files])


def _text(file: Path, config: IngestConfig) -> str:
    """The first segment of a text; empty for other kinds and for files that cannot be read."""
    try:
        asset = identify(file.resolve(), config)
        if asset.modality != TEXT:
            return ""
        first = next(iter(segments(asset, config)), None)
    except MediaError:
        return ""
    return first.content if first and isinstance(first.content, str) else ""


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W\d_]+", text.lower()) if len(word) > 3]


def _keywords(text: str, found_in: Mapping[str, int], n_texts: int) -> str:
    words = list(dict.fromkeys(_words(text)))
    rarity = {word: math.log((1 + n_texts) / found_in[word]) for word in words}
    keywords = set(sorted(words, key=lambda word: -rarity[word])[:_MOST_WORDS])
    return " ".join(word for word in words if word in keywords)


def _name(file: Path) -> str:
    return " ".join(re.findall(r"[^\W\d_]{2,}", file.stem))
