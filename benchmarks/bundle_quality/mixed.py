"""Sentences over photos and sentences in one list, and queries that mean nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.bundle_quality.report import Figure, Subject
from benchmarks.corpora.photo_captions import LANGUAGES, asked, bare, held_back
from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.media.image import load_image
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.types import IMAGE, QUERY, TEXT, Item, Modality
from scripts import captioned_pictures
from search import Hit, Query, SearchEngine
from search.store.memory import MemoryStore
from search.types import AssetRow, SegmentRow
from workers.pipeline.calibration import alone_here, calibrate_if_due

FOLDER = Path(".demo/captioned")
SEEN = {"multilingual": "seen beside the set that settings were chosen on"}
_N_PHOTOS, _N_NONSENSE = 1000, 200
_AT_ONCE = 32
_SEEN_NONSENSE = "this kind of nonsense was, for the English floors"
_BARS = {"own": 0.25, "some": 0.90, "above": 0.95, "nonsense": 0.05}

ABOUT = """
1,000 photographs of COCO and 3,699 of their captions in one store: the 320 photographs of
`benchmarks.corpora.photo_captions`, asked for by their sentences, and 680 others, drawn by a
seed. A caption with the words of a query is not stored, which leaves 246 of the 320 without one. No
picture head is fitted on the 320, nor on what shares a caption with them; the multilingual one is
fitted on the 680. The multilingual constants were fitted on 2,000 photographs of COCO: some of them
are among the 680, none among the 320.

Counted are whether its own photograph, and whether any, is on the first page of ten, among captions
and among photographs alone; of the first hits that are right (the photograph, or a caption of it),
those that are not weak; and of 200 queries of invented words that can be spoken and 200 of random
letters those with a hit that is not weak. Words are matched too, as in any search. The English
bundle is asked in English only.
"""


@dataclass(frozen=True)
class Photo:
    """A photograph.

    Args:
        path: the file.
        captions: those that are stored.
        sentences: its queries, one for each of `LANGUAGES`; none if it is not asked for.
    """

    path: Path
    captions: tuple[str, ...]
    sentences: tuple[str, ...] = ()


def photos() -> list[Photo]:
    """The photographs that are asked for, then the others."""
    pictures = captioned_pictures.read(FOLDER)
    tests = asked(FOLDER, pictures)
    queries = {bare(test.sentences[0]) for test in tests}
    apart = held_back(FOLDER, pictures)
    free = [one for one in pictures if len(one.captions) > 1 and one.name not in apart]
    drawn = np.random.default_rng(0).permutation(len(free))[: _N_PHOTOS - len(tests)]
    others = [free[place] for place in sorted(drawn)]

    def stored(captions: Sequence[str]) -> tuple[str, ...]:
        return tuple(one for one in captions if bare(one) not in queries)

    return [
        *(Photo(t.picture.path, stored(t.picture.captions), t.sentences) for t in tests),
        *(Photo(one.path, stored(one.captions)) for one in others),
    ]


def filled(encoder: MultiModalEncoder, given: Sequence[Photo]) -> MemoryStore:
    """A store of the photographs (assets ``p<number>``) and captions (``t<number>.<place>``), with
    constants as an ingest leaves them."""
    store = MemoryStore(encoder.embed_dim, encoder.space.calibration)
    pictures = [(f"p{number}", str(one.path)) for number, one in enumerate(given)]
    captions = [
        (f"t{number}.{place}", text)
        for number, one in enumerate(given)
        for place, text in enumerate(one.captions)
    ]
    _write(store, encoder, IMAGE, pictures)
    _write(store, encoder, TEXT, captions)
    calibrate_if_due(encoder, store, alone_here)
    return store


def _write(
    store: MemoryStore,
    encoder: MultiModalEncoder,
    kind: Modality,
    named: Sequence[tuple[str, str]],
) -> None:
    for start in range(0, len(named), _AT_ONCE):
        some = named[start : start + _AT_ONCE]
        items = [Item(kind, load_image(what) if kind == IMAGE else what) for _, what in some]
        for (name, what), of_item in zip(some, encoder.encode_rows(items), strict=True):
            asset = AssetRow(name, kind, "x/y", 1, 1, [f"/{name}"])
            snippet = what if kind == TEXT else ""
            segments = [
                SegmentRow(name, name, kind, 0, row, snippet=snippet, row=number)
                for number, row in enumerate(of_item)
            ]
            store.write([asset], segments)


def spoken(n: int = _N_NONSENSE) -> list[str]:
    """Invented words that can be spoken."""
    chance = random.Random(7)
    syllables = [c + v for c in ("b", "dr", "f", "gl", "k", "sn", "v", "z") for v in "aeiou"]
    return [
        " ".join("".join(chance.choices(syllables, k=chance.randint(2, 3))) for _ in range(4))
        for _ in range(n)
    ]


def typed(n: int = _N_NONSENSE) -> list[str]:
    """Random words, each of letters from one row of a keyboard."""
    chance = random.Random(8)
    keys = ["qwertzuiop", "asdfghjkl", "yxcvbnm"]
    return [
        " ".join(
            "".join(chance.choices(chance.choice(keys), k=chance.randint(4, 9))) for _ in range(3)
        )
        for _ in range(n)
    ]


def is_own(hit: Hit, number: int) -> bool:
    """Whether it is the photograph, or a caption of it."""
    return hit.asset_id[1:].partition(".")[0] == str(number)


def figures(name: str, languages: Sequence[str]) -> Iterator[Figure]:
    """What a bundle shows on its first pages."""
    fetch(read_bundle(name))
    config = EncoderConfig(n_threads=1)
    encoder = MultiModalEncoder(
        f"bundle:{name}", quantization="int8", config=config, enable_dsre=False
    )
    given = photos()
    engine = SearchEngine(encoder, filled(encoder, given))
    tests = [one for one in given if one.sentences]
    for language in languages:
        queries = [one.sentences[LANGUAGES.index(language)] for one in tests]
        yield from _of_sentences(f"{name}: sentence in {language}", engine, queries)
    for what, texts in (("invented words", spoken()), ("random letters", typed())):
        found = [any(not hit.weak for hit in _page(engine, text)) for text in texts]
        yield _figure(
            f"{name}: {what}",
            "a hit not weak (at most)",
            found,
            _BARS["nonsense"],
            seen=_SEEN_NONSENSE,
        )
    engine.close()


def _of_sentences(what: str, engine: SearchEngine, queries: Sequence[str]) -> Iterator[Figure]:
    pages = list(enumerate(_page(engine, query) for query in queries))
    own = [any(hit.asset_id == f"p{number}" for hit in page) for number, page in pages]
    some = [any(hit.modality == IMAGE for hit in page) for _, page in pages]
    yield _figure(what, "own photograph in the first 10", own, _BARS["own"])
    yield _figure(what, "any photograph in the first 10", some, _BARS["some"])
    yield from _of_first(f"{what}, mixed list", pages)
    alone = list(enumerate(_page(engine, query, IMAGE) for query in queries))
    own = [any(hit.asset_id == f"p{number}" for hit in page) for number, page in alone]
    yield _figure(f"{what}, photographs alone", "own photograph in the first 10", own)
    yield from _of_first(f"{what}, photographs alone", alone)


def _of_first(what: str, pages: Sequence[tuple[int, Sequence[Hit]]]) -> Iterator[Figure]:
    firsts = [page[0] for number, page in pages if page and is_own(page[0], number)]
    right = [bool(page) and is_own(page[0], number) for number, page in pages]
    yield _figure(what, "first hit right", right)
    yield _figure(
        f"{what}, right first hits", "not weak", [not hit.weak for hit in firsts], _BARS["above"]
    )


def _page(engine: SearchEngine, text: str, *kinds: Modality) -> Sequence[Hit]:
    return engine.search(Query([Item(TEXT, text, QUERY)], kinds, moments=0)).hits


def _figure(
    what: str, metric: str, values: Sequence[bool], bar: float | None = None, seen: str = ""
) -> Figure:
    seen = seen or SEEN.get(what.partition(":")[0], "")
    return Figure(what, metric, np.array(values, float), np.arange(len(values)), bar, seen)


def measure() -> Iterator[Figure]:
    """Both bundles in int8."""
    captioned_pictures.fetch(FOLDER)
    yield from figures("multilingual", LANGUAGES)
    yield from figures("english", LANGUAGES[:1])


SUBJECT = Subject("mixed lists", ABOUT, lambda: list(measure()))
