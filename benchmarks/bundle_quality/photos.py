"""Finding photographs by what people say about them, in three languages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.bundle_quality.questions import embed
from benchmarks.bundle_quality.report import Figure, Subject
from benchmarks.corpora.photo_captions import LANGUAGES, Asked, asked
from benchmarks.harness.ranking_measures import first_ranks
from encoder.loading import load_model
from encoder.media.image import load_image
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.towers.model import Model
from encoder.types import IMAGE, Embeddings
from scripts import captioned_pictures

FOLDER = Path(".demo/captioned")
_AT = (1, 10)
SEEN = {"multilingual": "seen beside the set that settings were chosen on"}

ABOUT = """
Sentences of xFlickrCO (Bugliarello et al. 2022) about 320 photographs of COCO, which are the
candidates too (`benchmarks.corpora.photo_captions`). No picture head is fitted on them, but it is
on others of COCO: photographs of another source are harder, and so are more candidates. The English
bundle is asked in English only.
"""


def rows_of(model: Model, tests: Sequence[Asked]) -> Embeddings:
    """All rows of each photograph, [n_photographs, n_rows, embed_dim]."""
    tower = model.towers[IMAGE]
    rows: Embeddings = np.stack(
        [tower.forward([tower.prepare(load_image(test.picture.path))]).rows for test in tests]
    )
    return rows


def figures(name: str, model: Model, languages: Sequence[str]) -> Iterator[Figure]:
    """What a model finds."""
    tests = asked(FOLDER, captioned_pictures.read(FOLDER))
    rows, own = rows_of(model, tests), np.arange(len(tests))
    for language in languages:
        place = LANGUAGES.index(language)
        queries = embed(model, [test.sentences[place] for test in tests], asked=True)
        scores = np.einsum("qd,prd->qpr", queries, rows).max(axis=2)
        seen = SEEN.get(name.partition(",")[0], "")
        ranks = first_ranks(scores, np.eye(len(tests), dtype=bool))
        for k in _AT:
            hits = (ranks < k).astype(np.float64)
            yield Figure(f"{name}: {language} → photograph", f"R@{k}", hits, own, seen=seen)


def measure() -> Iterator[Figure]:
    """The multilingual bundle in float32 and int8, and the English one."""
    captioned_pictures.fetch(FOLDER)
    for name, precision in (("multilingual", None), ("multilingual", "int8"), ("english", "int8")):
        fetch(read_bundle(name))
        model = load_model(f"bundle:{name}", quantization=precision)
        languages = LANGUAGES if name == "multilingual" else LANGUAGES[:1]
        yield from figures(f"{name}, {precision or 'float32'}", model, languages)


SUBJECT = Subject("photographs by sentences", ABOUT, lambda: list(measure()))
