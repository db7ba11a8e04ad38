"""Words and vectors: what BM25 gains for texts, and what it does to pictures.

    python -m benchmarks.retrieval.hybrid [--samples FOLDER] [--debian FOLDER] [--pairs N]

Titles ask for their bodies (descriptions of Debian packages; the weight was chosen on the split
``validation``). Paraphrases of ImageNet classes ask for pictures among the same texts: with
reciprocal rank fusion, as others use it, texts that share a word with the query come first.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.corpora.debian_packages import Pair, pairs
from benchmarks.harness.ranking_measures import mean_reciprocal_rank, recall_at
from benchmarks.harness.results_pages import table, write_section
from benchmarks.retrieval import terms
from benchmarks.retrieval.pictures import embed_texts
from encoder import MultiModalEncoder
from encoder.space import Space
from encoder.types import IMAGE, TEXT, Embeddings, Modality
from search.ranking.fusion import (
    Candidate,
    fuse_terms,
    rank,
    score_segments,
    with_words,
    words_weight,
)
from search.store.memory import MemoryStore
from search.types import ScoredSegment, SegmentRow

WEIGHTS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)
_DEPTH = 100
_RRF = 60
_WRITTEN_AT_ONCE = 500


@dataclass(frozen=True, eq=False)
class Asked:
    """A query: its words, its embedding and the segment that answers."""

    words: str
    embedding: Embeddings
    answer: str


@dataclass(frozen=True, eq=False)
class Corpus:
    """A store of texts, and of pictures where there are any, with the queries."""

    store: MemoryStore
    space: Space
    asked: Sequence[Asked]

    def nearest(self, kind: Modality) -> list[list[Candidate]]:
        """For each query the scored segments of one kind."""
        rows = np.stack([one.embedding for one in self.asked])
        fused = [fuse_terms(row[None], [1.0]) for row in rows]
        found = self.store.search(rows, kind, _DEPTH)
        pairs = zip(found, fused, strict=True)
        return [score_segments(kind, segments, query, self.space) for segments, query in pairs]

    def words(self) -> list[list[ScoredSegment]]:
        """For each query what BM25 finds."""
        return [self.store.lexical(one.words, _DEPTH) for one in self.asked]

    def ranks(self, lists: Sequence[Sequence[str]]) -> list[int]:
        """Where each query's answer stands in its list, from 0; far behind if it is not there."""
        pairs = zip(self.asked, lists, strict=True)
        return [ids.index(one.answer) if one.answer in ids else 10**6 for one, ids in pairs]


def of_pairs(encoder: MultiModalEncoder, chosen: Sequence[Pair]) -> Corpus:
    """A corpus of bodies, asked for by their titles."""
    store = MemoryStore(encoder.embed_dim)
    bodies = embed_texts(encoder, [pair.body for pair in chosen])
    rows = [
        SegmentRow(f"t{place}", f"t{place}", TEXT, 0, row, snippet=pair.body)
        for place, (pair, row) in enumerate(zip(chosen, bodies, strict=True))
    ]
    _write(store, rows)
    titles = embed_texts(encoder, [pair.title for pair in chosen])
    asked = [
        Asked(pair.title, row, f"t{place}")
        for place, (pair, row) in enumerate(zip(chosen, titles, strict=True))
    ]
    return Corpus(store, encoder.space, asked)


def with_pictures(corpus: Corpus, media: terms.Media, queries: Sequence[str]) -> Corpus:
    """The same texts and a thousand pictures, asked for by paraphrases."""
    _write(
        corpus.store,
        [SegmentRow(f"i{n}", f"i{n}", IMAGE, 0, row) for n, row in enumerate(media.images)],
    )
    asked = [
        Asked(words, row, f"i{number}")
        for words, row, number in zip(queries, media.queries, media.classes.tolist(), strict=True)
    ]
    return Corpus(corpus.store, corpus.space, asked)


def _write(store: MemoryStore, rows: Sequence[SegmentRow]) -> None:
    for start in range(0, len(rows), _WRITTEN_AT_ONCE):
        store.write([], rows[start : start + _WRITTEN_AT_ONCE])


def ids_of(candidates: Sequence[Candidate]) -> list[str]:
    """Segment ids."""
    return [candidate.segment.segment_id for candidate in candidates]


def figures(ranks: Sequence[int], k: int = 10) -> tuple[str, str, str]:
    """nDCG@10 of one right answer, R@1 and MRR."""
    found = np.asarray(ranks)
    gains = np.where(found < k, 1 / np.log2(found + 2), 0.0)
    one, mrr = recall_at(found, 1), mean_reciprocal_rank(found)
    return f"{gains.mean():.3f}", f"{one:.3f}", f"{mrr:.3f}"


def joined(
    texts: Sequence[Candidate], words: Sequence[ScoredSegment], weight: float
) -> list[Candidate]:
    """What `search` makes of texts and words, with a different weight."""
    if not words:
        return list(texts)
    return with_words(texts, words, words_weight(texts, words, weight))


def by_words(corpus: Corpus) -> list[tuple[str, ...]]:
    """Rows of a table: how well texts are found as the weight of the words grows from 0."""
    dense, words = corpus.nearest(TEXT), corpus.words()
    alone = [[segment.segment_id for segment in found] for found in words]
    rows: list[tuple[str, ...]] = [("words alone", *figures(corpus.ranks(alone)))]
    for weight in WEIGHTS:
        pairs = zip(dense, words, strict=True)
        lists = [ids_of(joined(near, found, weight)) for near, found in pairs]
        name = f"weight {weight:g}" if weight else "vectors alone"
        rows.append((name, *figures(corpus.ranks(lists))))
    return rows


def reciprocal_ranks(lists: Sequence[Sequence[str]]) -> list[str]:
    """Reciprocal rank fusion (Cormack et al., SIGIR 2009) of lists of ids."""
    scores: dict[str, float] = {}
    for ids in lists:
        for place, key in enumerate(ids, 1):
            scores[key] = scores.get(key, 0.0) + 1 / (_RRF + place)
    return sorted(scores, key=lambda key: (-scores[key], key))


def mixed(corpus: Corpus, weight: float) -> list[tuple[str, ...]]:
    """Rows of a table: where the right picture stands in one list with all texts."""
    found = zip(corpus.nearest(TEXT), corpus.nearest(IMAGE), corpus.words(), strict=True)
    lists: dict[str, list[list[str]]] = {}
    for texts, pictures, words in found:
        dense = ids_of(rank({TEXT: texts, IMAGE: pictures}))
        ours = ids_of(rank({TEXT: joined(texts, words, weight), IMAGE: pictures}))
        fused = reciprocal_ranks([dense, [segment.segment_id for segment in words]])
        lists.setdefault("vectors alone", []).append(dense)
        lists.setdefault("with words, as `search` does", []).append(ours)
        lists.setdefault("with words, by reciprocal rank", []).append(fused)
    ranks = {way: corpus.ranks(of_way) for way, of_way in lists.items()}
    return [
        (way, *figures(places), f"{recall_at(np.asarray(places), 10):.3f}")
        for way, places in ranks.items()
    ]


_REPORT = """{n_validation} and {n_test} titles ask for their bodies, of two splits. Words are
BM25, vectors the bundle's; the weight is in standard deviations of the query's own scores (the
second to the 32nd), and 4 was chosen on `validation`.

{texts}

{n_mixed} paraphrases ask for a picture, among {n_pictures} of them and {n_test} of these texts.

{mixed}"""


def main() -> None:
    home = Path(".demo") / "quality"
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=Path, default=home / "samples")
    parser.add_argument("--debian", type=Path, default=home / "debian")
    parser.add_argument("--pairs", type=int, default=1000)
    args = parser.parse_args()
    encoder = MultiModalEncoder("bundle:english", quantization="auto", enable_dsre="auto")
    validation = of_pairs(encoder, pairs(args.debian, "validation")[: args.pairs])
    test = of_pairs(encoder, pairs(args.debian, "test")[: args.pairs])
    sides = zip(by_words(validation), by_words(test), strict=True)
    texts = [(*one, *other[1:]) for one, other in sides]
    headings = (
        "",
        *(f"{m}, {s}" for s in ("validation", "test") for m in ("nDCG@10", "R@1", "MRR")),
    )
    media = terms.load(args.samples)
    both = with_pictures(test, media, terms.paraphrases())
    body = _REPORT.format(
        n_validation=len(validation.asked),
        n_test=len(test.asked),
        n_mixed=len(both.asked),
        n_pictures=len(media.images),
        texts=table(headings, texts),
        mixed=table(("", "nDCG@10", "R@1", "MRR", "R@10"), mixed(both, 4.0)),
    )
    write_section("Words beside vectors", "python -m benchmarks.retrieval.hybrid", body)
    print(body)


if __name__ == "__main__":
    main()
