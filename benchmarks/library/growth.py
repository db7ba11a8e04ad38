"""The same questions after the library has grown by 1,000 photographs, or by 1,000 texts.

    python -m benchmarks.library.growth photos|texts [--half development|judged]

Photographs are further ones of COCO's val2017; texts are further German news and English mails, as
far as there are any. None was asked for, so some may answer as well as the file that was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from shutil import copy, copytree

from benchmarks.library.__main__ import FOLDER, asked_and_reported
from benchmarks.library.asking import ingest
from benchmarks.library.corpus import (
    N_NEWS,
    N_PHOTOS,
    Facts,
    Written,
    mails,
    make,
    news,
    photographs,
    write_text,
)
from benchmarks.library.questions import HALVES

_N_MORE = 1000


def main() -> None:
    """Copy the store, add to it, and ask."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.library.growth")
    parser.add_argument("what", choices=["photos", "texts"])
    parser.add_argument("--half", choices=HALVES, default=HALVES[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    made = make(folder)
    more, store = folder / f"more-{asked.what}", folder / f"store-{asked.what}"
    if not more.exists():
        more.mkdir()
        (_photos if asked.what == "photos" else _texts)(more, made)
    if not store.exists():
        copytree(folder / "store", store)
    ingest(more, store)
    print(asked_and_reported(store, made, asked.half))


def _photos(more: Path, _: dict[str, Facts]) -> None:
    for number, path in list(photographs().items())[N_PHOTOS : N_PHOTOS + _N_MORE]:
        copy(path, more / f"P{number:012}.jpg")


def _texts(more: Path, made: dict[str, Facts]) -> None:
    taken = {facts["of"] for facts in made.values()}
    given, step = news(), len(news()) / N_NEWS
    used = {int(n * step) for n in range(N_NEWS)}
    others = [text for n, text in enumerate(given) if n not in used][: _N_MORE // 2]
    for n, text in enumerate(others):
        title, _, body = text.partition(". ")
        write_text(more / f"bericht-{n:03}.txt", Written("", "de", "", title, [body or title]))
    free = [path for key, path in mails().items() if f"ham:{key}" not in taken]
    for n, path in enumerate(free[: _N_MORE - len(others)]):
        copy(path, more / f"g{n:03}.eml")


if __name__ == "__main__":
    main()
