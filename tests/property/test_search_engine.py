"""The engine against the definition: every segment scored, term by term, in plain loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch
from zlib import crc32

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoder.errors import InputError
from encoder.space import Calibration, Space, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Item, Modality
from search import Hit, Query, SearchEngine, Term
from search.filters import matches, parse_filter
from search.lexical.analysis import terms
from search.lexical.names import NameQuery, names_of
from search.lexical.rarity import QueryWords
from search.query.planner import plan
from search.query.word_search import shares_held
from search.ranking.fusion import LEAST_PART, PRIOR, words_gain
from search.store.lanes import StoredSpace, StoreLanes
from search.store.memory import MemoryStore
from search.types import AssetRow, ScoredSegment, SegmentRow
from tests.support.encoders import Given

DIM = 6
KINDS = (TEXT, IMAGE, AUDIO)
SPACE = Space(
    DIM,
    {},
    {
        TEXT: Calibration(0.1, 0.2),
        IMAGE: Calibration(0.2, 0.1, (Calibration(-0.1, 0.3),)),
        AUDIO: Calibration(0.3, 0.15),
    },
)


class Stopping(MemoryStore):
    def search(self, *args: Any, **options: Any) -> list[list[ScoredSegment]]:
        return [segments[: args[2]] for segments in super().search(*args, **options)]


@dataclass
class Corpus:
    assets: list[AssetRow]
    segments: list[SegmentRow]
    committed: set[str]

    def store(self, goes_on: bool = True) -> MemoryStore:
        """One that finds the best of each kind with the best of all, or one that stops at these."""
        store = (MemoryStore if goes_on else Stopping)(DIM, SPACE.calibration)
        store.write([a for a in self.assets if a.asset_id in self.committed], self.segments)
        return store

    def laned_store(self, kinds: Sequence[Modality]) -> MemoryStore:
        """Each of these kinds has a space of its own."""
        home, *others = (StoredSpace(name, DIM, SPACE.calibration) for name in ("home", *kinds))
        store = MemoryStore(lanes=StoreLanes(home, dict(zip(kinds, others, strict=True))))
        store.write([a for a in self.assets if a.asset_id in self.committed], self.segments)
        return store


def make_corpus(seed: int, n_assets: int, crowd: int, prefix: str = "a") -> Corpus:
    """Assets of a few segments of mixed kinds; one has a crowd of them that are nearly alike.

    Most pictures have two vectors.
    """
    rng = np.random.default_rng(seed)
    assets, segments, committed = [], [], set()
    for number in range(n_assets):
        name = f"{prefix}{number:02}"
        centre = rng.normal(size=DIM)
        n_segments = crowd if number == 0 else int(rng.integers(1, 4))
        for index in range(n_segments):
            kind = KINDS[0] if number == 0 else KINDS[int(rng.integers(3))]
            spread = 0.05 if number == 0 else 1.0
            row = l2_normalize((centre + spread * rng.normal(size=DIM))[None])[0]
            segments.append(SegmentRow(f"{name}-{index:03}", name, kind, index, row))
            if kind == IMAGE and rng.random() < 0.8:
                other = l2_normalize((centre + rng.normal(size=DIM))[None])[0]
                segments.append(replace(segments[-1], embedding=other, row=1))
        metadata = {"tags": [["red"], ["red", "blue"], []][number % 3], "n": number}
        assets.append(
            AssetRow(
                name,
                KINDS[number % 3],
                "x/y",
                1,
                {KINDS[number % 3]: n_segments},
                [f"/{name}"],
                metadata,
            )
        )
        if rng.random() < 0.85:
            committed.add(name)
    return Corpus(assets, segments, committed)


FILTERS = [
    None,
    {"field": "tags", "contains": "red"},
    {"field": "metadata.n", "lt": 3},
    {"and": [{"field": "tags", "contains": "blue"}, {"not": {"field": "modality", "eq": "text"}}]},
    {"field": "metadata.n", "gte": 1000},
]


@st.composite
def queries(draw: st.DrawFn, corpus: Corpus, reach: str) -> Query:
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    weights = draw(st.lists(st.sampled_from([1.0, 2.5, -0.4]), max_size=2))
    terms = [Term(Item(TEXT, rng.normal(size=DIM)), weight=w) for w in [1.0, *weights]]
    if corpus.committed and draw(st.booleans()):
        terms.append(Term(asset_id=draw(st.sampled_from(sorted(corpus.committed)))))
    filter = draw(st.sampled_from(FILTERS))
    return Query(
        terms,
        modalities=draw(st.sampled_from([(), (IMAGE,), (TEXT, AUDIO)])),
        limit=draw(st.integers(3, 8)),
        filter=filter and parse_filter(filter),
        score_threshold=draw(st.sampled_from([None, None, -1.0, 2.0])),
        # One search cannot return more segments of one asset than MAX_CANDIDATES.
        group_by=draw(st.sampled_from(["asset"] if reach == "narrow" else ["asset", "segment"])),
        moments=draw(st.integers(0, 2)),
    )


def calibrated(kind: Modality, cosine: float, row: int = 0) -> float:
    constants = SPACE.calibration[kind]
    constants = constants.further[0] if row else constants
    return (cosine - constants.mu) / constants.c


def embedding_of(term: Term, corpus: Corpus) -> Embeddings:
    if term.item:
        return l2_normalize(term.item.content[None])[0]
    rows: dict[str, list[Embeddings]] = {}
    for segment in corpus.segments:
        if segment.asset_id == term.asset_id and not segment.row:
            rows.setdefault(segment.modality, []).append(segment.embedding)
    means = [l2_normalize(np.mean(part, axis=0)[None])[0] for part in rows.values()]
    return l2_normalize(np.sum(means, axis=0)[None])[0]


def score_by(query: Query, corpus: Corpus) -> Callable[[SegmentRow], float]:
    """The definition of a score."""
    pulls = [(t.weight, embedding_of(t, corpus)) for t in query.terms if t.weight > 0]
    total = sum(weight for weight, _ in pulls)
    mean = sum(weight * row for weight, row in pulls)
    wanted = mean / np.linalg.norm(mean)
    pushes = [(t.weight / total, embedding_of(t, corpus)) for t in query.terms if t.weight < 0]

    def score(segment: SegmentRow) -> float:
        cosine = float(wanted @ segment.embedding)
        if not pushes and cosine > 1 - 1e-5:
            return max(calibrated(kind, 1.0) for kind in KINDS)
        of, row = segment.modality, segment.row
        return calibrated(of, cosine, row) + sum(
            w * calibrated(of, float(pushed @ segment.embedding), row) for w, pushed in pushes
        )

    return score


Ranking = list[tuple[float, SegmentRow]]


def ranking(query: Query, corpus: Corpus, kinds: Sequence[Modality]) -> Ranking:
    """All hits there are, best first."""
    rows = {row.asset_id: row for row in corpus.assets if row.asset_id in corpus.committed}
    score = score_by(query, corpus)
    out = {term.asset_id for term in query.terms}
    scored = sorted(
        (
            (score(segment), segment)
            for segment in corpus.segments
            if segment.modality in kinds
            and segment.asset_id in rows
            and segment.asset_id not in out
            and (query.filter is None or matches(query.filter, rows[segment.asset_id]))
        ),
        key=lambda pair: (-pair[0], pair[1].segment_id),
    )
    lowest = query.score_threshold
    if lowest is not None:
        scored = [pair for pair in scored if pair[0] >= lowest]
    best: dict[str, tuple[float, SegmentRow]] = {}
    for pair in scored:
        of_asset = query.group_by == "asset"
        best.setdefault(pair[1].asset_id if of_asset else pair[1].segment_id, pair)
    return list(best.values())


def all_pages(engine: SearchEngine, query: Query) -> Iterator[Sequence[Hit]]:
    while True:
        result = engine.search(query)
        yield result.hits
        if not result.next_cursor:
            return
        query = replace(query, cursor=result.next_cursor)


def assert_same(hits: Sequence[Hit], wanted: Ranking) -> None:
    assert [hit.segment_id for hit in hits] == [segment.segment_id for _, segment in wanted]
    got = [hit.score for hit in hits]
    np.testing.assert_allclose(got, [score for score, _ in wanted], atol=1e-4)


def assert_alike(hits: Sequence[Hit], others: Sequence[Hit]) -> None:
    """The same but for rounding."""
    both = [(hit.segment_id, hit.weak) for hit in hits], [(o.segment_id, o.weak) for o in others]
    assert both[0] == both[1]
    np.testing.assert_allclose([h.score for h in hits], [o.score for o in others], atol=1e-4)


@pytest.fixture(params=["wide", "narrow"])
def reach(request: pytest.FixtureRequest) -> Iterator[str]:
    """Once as it is, and once with bounds so small that every way of growing is taken."""
    if request.param == "wide":
        yield request.param
        return
    with (
        patch("search.query.planner.MAX_CANDIDATES", 16),
        patch("search.ranking.candidates.MAX_CANDIDATES", 16),
        patch("search.ranking.candidates.MAX_JOINED", 4),
        patch("search.query.planner._MIN_CANDIDATES", 1),
        patch("search.query.planner._OVER_FETCH", 1),
    ):
        yield request.param


CORPORA = [make_corpus(1, 16, 24), make_corpus(2, 3, 1), make_corpus(3, 0, 0)]
many = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@many
@given(corpus=st.sampled_from(CORPORA), data=st.data())
def test_pages_are_the_whole_ranking(reach: str, corpus: Corpus, data: st.DataObject) -> None:
    query = data.draw(queries(corpus, reach))
    engine = SearchEngine(Given(SPACE), corpus.store(data.draw(st.booleans())))
    pages = list(all_pages(engine, query))
    assert all(len(page) == query.limit for page in pages[:-1])
    assert len(pages[-1]) <= query.limit
    wanted = ranking(query, corpus, query.modalities or KINDS)
    assert_same([hit for page in pages for hit in page], wanted)
    engine.close()


@many
@given(corpus=st.sampled_from(CORPORA), data=st.data())
def test_sorted_pages_are_the_whole_list_by_name(
    reach: str, corpus: Corpus, data: st.DataObject
) -> None:
    lowest = data.draw(st.sampled_from([-50.0, 0.0, 2.0]))
    query = replace(data.draw(queries(corpus, reach)), sort="-name", score_threshold=lowest)
    engine = SearchEngine(Given(SPACE), corpus.store(data.draw(st.booleans())))
    hits = [hit for page in all_pages(engine, query) for hit in page]
    by_score = ranking(query, corpus, query.modalities or KINDS)
    wanted = sorted(by_score, key=lambda pair: pair[1].asset_id, reverse=True)
    assert_same(hits, wanted)
    assert engine.search(query).total == len(wanted)
    engine.close()


class WordsAsVectors(Given):
    """Takes texts, too; each has a direction of its own."""

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        rows = [np.random.default_rng(crc32(item.content.encode())) for item in items]
        return l2_normalize(np.stack([rng.normal(size=DIM) for rng in rows]))


WORDS = "ash birch cedar elm".split()


def worded(corpus: Corpus, seed: int) -> Corpus:
    """The same with words in texts, of which none is a whole query, and in names."""
    rng = np.random.default_rng(seed)
    texts = {
        s.segment_id: " ".join(["oak", *rng.choice(WORDS, int(rng.integers(4)))])
        for s in corpus.segments
    }
    segments = [
        replace(s, snippet=texts[s.segment_id] * (s.modality == TEXT)) for s in corpus.segments
    ]
    names = {a.asset_id: "-".join(rng.choice([*WORDS, "x", "y"], 2)) for a in corpus.assets}
    kinds = rng.choice(["x/y", "image/png", "application/pdf"], len(names)).tolist()
    assets = [
        replace(a, locations=[f"/{names[a.asset_id]}"], media_type=kind)
        for a, kind in zip(corpus.assets, kinds, strict=True)
    ]
    return Corpus(assets, segments, {a.asset_id for a in assets})


@many
@given(corpus=st.sampled_from(CORPORA), data=st.data())
def test_words_names_and_kinds_add_to_the_score_whether_vectors_find_them_or_not(
    reach: str, corpus: Corpus, data: st.DataObject
) -> None:
    corpus = worded(corpus, data.draw(st.integers(0, 99)))
    text = " ".join(data.draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3)))
    named_kind = data.draw(st.sampled_from(["", "image", "invoice", "slides"]))
    text = f"{named_kind} {text}".strip()
    query = Query(
        [Item(TEXT, text)],
        limit=data.draw(st.integers(1, 6)),
        group_by=data.draw(
            st.sampled_from(["asset"] if reach == "narrow" else ["asset", "segment"])
        ),
        moments=0,
        explain=True,
    )
    store = corpus.store(data.draw(st.booleans()))
    engine = SearchEngine(WordsAsVectors(SPACE), store)
    pages, cursor = [], ""
    while not pages or cursor:
        result = engine.search(replace(query, cursor=cursor))
        pages.append(result.hits)
        cursor = result.next_cursor
    engine.close()
    worded_segments = store.lexical(text, 50)
    query_words = QueryWords(text, store.frequencies(terms(text)))
    shares = shares_held(query_words, worded_segments)
    gains = {
        segment.segment_id: words_gain(share)
        for segment, share in zip(worded_segments, shares, strict=True)
    }
    parts = {
        row.asset_id: NameQuery(text).match(names_of(row), with_folders=True)
        for row in corpus.assets
    }
    vector = Term(Item(TEXT, WordsAsVectors(SPACE).encode_items([Item(TEXT, text)])[0]))
    dense = ranking(replace(query, items=[vector], group_by="segment"), corpus, KINDS)
    dense = [(score + gains.get(s.segment_id, 0.0), s) for score, s in dense]
    of_kind = {
        row.asset_id
        for row in corpus.assets
        if row.media_type.startswith(plan(query, KINDS).media_types or ("?",))
    }
    dense = [(score + PRIOR * (s.asset_id in of_kind), s) for score, s in dense]
    dense.sort(key=lambda pair: (-pair[0], pair[1].segment_id))
    named: dict[tuple[str, Modality], float] = {}
    for score, segment in dense:
        if parts[segment.asset_id] >= LEAST_PART:
            named.setdefault((segment.asset_id, segment.modality), score)
    wanted = []
    for score, segment in dense:
        bonus = 0.0
        if named.get((segment.asset_id, segment.modality)) == score:
            part = parts[segment.asset_id]
            bonus = 3.0 * part**3 + 8.0 * (part >= 0.9)
        wanted.append((score + bonus, segment))
    wanted.sort(key=lambda pair: (-pair[0], pair[1].segment_id))
    groups: dict[str, tuple[float, SegmentRow]] = {}
    for pair in wanted:
        groups.setdefault(key_in(query)(pair), pair)
    assert_same([hit for page in pages for hit in page], list(groups.values()))


def key_in(query: Query) -> Callable[[tuple[float, SegmentRow]], str]:
    by_asset = query.group_by == "asset"
    return lambda pair: pair[1].asset_id if by_asset else pair[1].segment_id


@many
@given(corpus=st.sampled_from(CORPORA), data=st.data())
def test_a_quota_is_filled_by_the_best_of_its_kind(
    reach: str, corpus: Corpus, data: st.DataObject
) -> None:
    query = data.draw(queries(corpus, reach))
    quotas = data.draw(st.dictionaries(st.sampled_from(KINDS), st.integers(1, 5), min_size=1))
    query = replace(query, modalities=(), quotas=quotas)
    engine = SearchEngine(Given(SPACE), corpus.store())
    pages = list(all_pages(engine, query))
    for kind, n in quotas.items():
        by_page = [[hit for hit in page if hit.modality == kind] for page in pages]
        wanted = ranking(query, corpus, [kind])
        assert [len(hits) for hits in by_page] == [
            max(0, min(n, len(wanted) - n * number)) for number in range(len(pages))
        ]
        assert_same([hit for hits in by_page for hit in hits], wanted)
    engine.close()


@many
@given(corpus=st.sampled_from(CORPORA), data=st.data())
def test_a_space_cut_into_lanes_finds_what_it_finds_whole(
    reach: str, corpus: Corpus, data: st.DataObject
) -> None:
    corpus = worded(corpus, data.draw(st.integers(0, 99)))
    query = data.draw(queries(corpus, reach))
    words = " ".join(data.draw(st.lists(st.sampled_from(WORDS), max_size=3)))
    terms = [term for term in query.terms if term.item]  # an asset is another query in each lane
    if words:
        terms = [Term(Item(TEXT, words))]
    query = replace(query, items=terms, moments=0)  # of these, what was seen on the way
    encoder = WordsAsVectors(SPACE) if words else Given(SPACE)
    whole = SearchEngine(encoder, corpus.store(data.draw(st.booleans())))
    lanes = data.draw(st.sampled_from([(IMAGE,), (IMAGE, AUDIO), (AUDIO,)]))
    others = {kind: type(encoder)(SPACE) for kind in lanes}
    cut = SearchEngine(encoder, corpus.laned_store(lanes), lanes=others)
    for of_whole, of_cut in zip(all_pages(whole, query), all_pages(cut, query), strict=True):
        assert_alike(of_cut, of_whole)
    whole.close()
    cut.close()


@many
@given(data=st.data())
def test_what_arrives_between_pages_repeats_nothing(reach: str, data: st.DataObject) -> None:
    corpus = CORPORA[0]
    query = data.draw(queries(corpus, reach))
    diversity, sort = data.draw(st.sampled_from([(0.0, ""), (0.4, ""), (0.0, "name")]))
    query = replace(query, diversity=diversity, sort=sort)
    store = corpus.store(data.draw(st.booleans()))
    engine = SearchEngine(Given(SPACE), store)
    seen: list[str] = []
    for number, page in enumerate(all_pages(engine, query)):
        seen += [hit.asset_id if query.group_by == "asset" else hit.segment_id for hit in page]
        if number < 3:
            more = make_corpus(data.draw(st.integers(50, 60)), 5, 3, prefix=f"new{number}")
            store.write(more.assets, more.segments)
    assert len(seen) == len(set(seen))
    wanted = ranking(query, corpus, query.modalities or KINDS)
    old = {s.asset_id if query.group_by == "asset" else s.segment_id for _, s in wanted}
    assert old <= set(seen)
    engine.close()


@many
@given(data=st.data())
def test_diverse_pages_hold_every_hit_once(reach: str, data: st.DataObject) -> None:
    corpus = CORPORA[0]
    query = replace(
        data.draw(queries(corpus, reach)), diversity=data.draw(st.sampled_from([0.2, 1.0]))
    )
    engine = SearchEngine(Given(SPACE), corpus.store(data.draw(st.booleans())))
    hits = [hit.segment_id for page in all_pages(engine, query) for hit in page]
    wanted = ranking(query, corpus, query.modalities or KINDS)
    assert sorted(hits) == sorted(segment.segment_id for _, segment in wanted)
    engine.close()


@many
@given(st.text(max_size=60))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    engine = SearchEngine(Given(SPACE), CORPORA[1].store())
    query = Query([Item(TEXT, np.ones(DIM))], cursor=text or "x")
    with pytest.raises(InputError, match=r"query\.cursor"):
        engine.search(query)
    engine.close()
