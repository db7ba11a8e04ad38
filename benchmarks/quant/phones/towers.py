"""The towers of a folder for phones, on ONNX Runtime and on ExecuTorch, compared with the server's.

Importing this imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.corpora.debian_packages import pairs
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.quant.networks.pictures import picture_files
from encoder.media.image import load_image, resize
from encoder.models.base import Model
from encoder.models.mobile.described import NETWORKS, PROGRAMS
from encoder.models.mobile.folder import LEAST_COSINE, export_mobile
from encoder.models.mobile.graphs import PICTURE
from encoder.models.open import load_model
from encoder.models.prepare.phones.programs import Program
from encoder.runtime.onnx import OnnxSession
from encoder.towers.text.tower import inputs_of
from encoder.types import IMAGE, TEXT

Item = NDArray[Any]
Run = Callable[[Item], NDArray[np.float32]]
_N_ITEMS, _N_TIMED = 40, 5
_TOKENS, _SIDES = 64, (640, 480)
_BAR = Bar(at_least=LEAST_COSINE)
_INTRO = (
    "`anymodal export --target mobile` of {} in int8. The least and the mean cosine to the "
    "server's rows on {} descriptions of Debian packages, each alone, and {} photographs; the "
    "server is one in int8 for ONNX Runtime, one in float32 for ExecuTorch. CPU ms of a text of "
    "{} tokens and of a picture of {} × {}, scaled in the network: the least of {} runs, one "
    "thread."
)


def english(settings: Settings) -> None:
    """The bundle for English."""
    _report(settings, "bundle:english", "Towers for phones")


def multilingual(settings: Settings) -> None:
    """The bundle for many languages, whose text network has twelve layers."""
    _report(settings, "bundle:multilingual", "Towers for phones: multilingual")


def _report(settings: Settings, bundle: str, title: str) -> None:
    torch.set_num_threads(1)
    n = settings.items(_N_ITEMS, 3)
    headings = ("file", "MB", "cosine, least", "cosine, mean", "to int8, mean", "CPU ms")
    intro = _INTRO.format(bundle, n, n, _TOKENS, *_SIDES, _N_TIMED)
    report(settings, title, intro, table(headings, list(_rows(settings, bundle, n))))


def _rows(settings: Settings, bundle: str, n: int) -> Iterator[tuple[object, ...]]:
    exact, server = (load_model(bundle, quantization=one, n_threads=1) for one in (None, "int8"))
    texts = [pair.body for pair in pairs(settings.folder / "debian", "test")[:n]]
    photos = [load_image(path) for path in picture_files(settings.folder, "calibration")[:n]]
    items: dict[str, Sequence[Item]] = {
        TEXT: [exact.towers[TEXT].prepare(text)[:256] for text in texts],
        IMAGE: photos,
    }
    timed = {TEXT: np.arange(1000, 1000 + _TOKENS), IMAGE: resize(photos[0], *_SIDES)}
    folder = settings.cache / "phones" / bundle.partition(":")[2]
    if not folder.exists():
        note(f"export {bundle}")
        export_mobile(bundle, folder, executorch=True)
    for tower in (TEXT, IMAGE):
        for files, model in ((NETWORKS, server), (PROGRAMS, exact)):
            note(f"{bundle}, {files[tower]}")
            path = folder / files[tower]
            run = _open(path, tower)
            found = _cosines(run, model, tower, items[tower])
            others = _cosines(run, server, tower, items[tower])
            yield (
                path.name,
                f"{path.stat().st_size / 1e6:.1f}",
                _BAR.beside(min(found), ".4f"),
                f"{np.mean(found):.4f}",
                f"{np.mean(others):.4f}",
                f"{1e3 * _spent(run, timed[tower]):.1f}",
            )


def _open(path: Path, tower: str) -> Run:
    if path.suffix == ".pte":
        program = Program(path)
        return lambda item: program.rows(item[None] if tower == TEXT else item)
    session = OnnxSession(path, n_threads=1)
    return lambda item: session.run(inputs_of([item]) if tower == TEXT else {PICTURE: item})[0]


def _cosines(run: Run, model: Model, tower: str, items: Sequence[Item]) -> list[float]:
    found = []
    for item in items:
        prepared = item if tower == TEXT else model.towers[tower].prepare(item)
        found += (model.towers[tower].forward([prepared]).rows * run(item)).sum(1).tolist()
    return found


def _spent(run: Run, item: Item) -> float:
    """The least process time of a run, in seconds, after one to warm up."""
    least = float("inf")
    for turn in range(_N_TIMED + 1):
        start = time.process_time()
        run(item)
        least = min(least, time.process_time() - start) if turn else least
    return least
