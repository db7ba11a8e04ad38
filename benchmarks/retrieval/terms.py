"""How to fuse the terms of a query: which way ranks best in a mixed list.

    python -m benchmarks.retrieval.terms [--samples FOLDER]

A thousand texts (the descriptions of ImageNet's classes) and a thousand pictures (the samples)
compete. Queries are our paraphrases, with the class that is nearest to each of them pushed away,
and two of them at once. Each way is what `search.ranking.fusion` does, or could do.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpora import picture_sets
from benchmarks.harness.ranking_measures import average_precisions
from benchmarks.harness.results_pages import table, write_section
from benchmarks.retrieval.pictures import PARAPHRASES, WNIDS, embed_pictures, embed_texts
from encoder import MultiModalEncoder
from encoder.models.bundle.declaration import IMAGE_LABELS
from encoder.space import Space, l2_normalize
from encoder.types import IMAGE, TEXT, Embeddings, Modality
from search.ranking.fusion import fuse_terms, score_cosines

DESCRIPTIONS = Path(__file__).parents[2] / "scripts" / "imagenet_descriptions.txt"
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)

Scores = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Asked:
    """Unit rows of the terms [n, embed_dim] and their weights."""

    terms: Embeddings
    weights: Sequence[float]


Way = Callable[[Asked, Embeddings, Modality, Space], Scores]
"""From a query, rows of targets, their modality and the space to scores [n_targets]."""


@dataclass(frozen=True, eq=False)
class Media:
    """Embeddings of each class, [n_classes, embed_dim], and of the queries, with their classes."""

    space: Space
    texts: Embeddings
    images: Embeddings
    names: Embeddings
    queries: Embeddings
    classes: NDArray[np.int64]


def load(samples: Path) -> Media:
    """Read and embed all."""
    encoder = MultiModalEncoder("bundle:english", quantization="auto", enable_dsre=False)
    wnids = WNIDS.read_text("ascii").split()
    pictures = picture_sets.samples(samples)
    asked = _paraphrases()
    return Media(
        encoder.space,
        embed_texts(encoder, DESCRIPTIONS.read_text("utf-8").splitlines()),
        embed_pictures(encoder, [pictures[wnid] for wnid in wnids]),
        embed_texts(encoder, np.load(IMAGE_LABELS)["names"].tolist()),
        embed_texts(encoder, [row["text"] for row in asked]),
        np.array([wnids.index(row["wnid"]) for row in asked]),
    )


def paraphrases() -> list[str]:
    """The queries, in the order of `Media.queries`."""
    return [row["text"] for row in _paraphrases()]


def _paraphrases() -> list[dict[str, str]]:
    with PARAPHRASES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def as_search_does(asked: Asked, rows: Embeddings, kind: Modality, space: Space) -> Scores:
    """One direction; negative terms subtract their own calibrated score."""
    fused = fuse_terms(asked.terms, asked.weights)
    return score_cosines(kind, _cosines(rows, fused.direction), fused, space)


def one_direction(asked: Asked, rows: Embeddings, kind: Modality, space: Space) -> Scores:
    """The weighted mean of all terms, as if it were one term."""
    mixed = l2_normalize(np.asarray(asked.weights) @ asked.terms)
    return space.calibrate(kind, _cosines(rows, mixed))


def term_by_term(asked: Asked, rows: Embeddings, kind: Modality, space: Space) -> Scores:
    """The weighted sum of the terms' calibrated scores."""
    scores = space.calibrate(kind, _cosines(rows, asked.terms.T))
    return np.asarray(scores @ np.asarray(asked.weights))


def only_above(asked: Asked, rows: Embeddings, kind: Modality, space: Space) -> Scores:
    """The same, but only targets more like a negative term than usual lose by it."""
    scores = space.calibrate(kind, _cosines(rows, asked.terms.T))
    clipped = np.where(np.asarray(asked.weights) < 0, np.maximum(scores, 0), scores)
    return np.asarray(clipped @ np.asarray(asked.weights))


WAYS: dict[str, Way] = {
    "as `search` does": as_search_does,
    "one direction, its cosine calibrated": one_direction,
    "sum of the terms' calibrated scores": term_by_term,
    "the same, negative ones only above 0": only_above,
}


def _cosines(rows: Embeddings, direction: Embeddings) -> Scores:
    return (rows @ direction).astype(np.float64)


def mixed_list(way: Way, media: Media, asked: Asked) -> Scores:
    """Scores [2 * n_classes] of all texts, then of all pictures."""
    targets = {TEXT: media.texts, IMAGE: media.images}
    return np.concatenate([way(asked, rows, kind, media.space) for kind, rows in targets.items()])


def nearest_other(media: Media) -> NDArray[np.int64]:
    """For each query, the class that its words are nearest to, other than its own."""
    cosines = media.queries @ media.names.T
    cosines[np.arange(len(cosines)), media.classes] = -1.0
    return np.asarray(cosines.argmax(axis=1))


def push_away(media: Media, way: Way, weight: float) -> tuple[float, float]:
    """mAP of the wanted class, and how many of the unwanted one's two items are in the top ten."""
    unwanted = nearest_other(media)
    lists = []
    for query, other in zip(media.queries, unwanted, strict=True):
        n_terms = 2 if weight else 1
        terms = np.stack([query, media.names[other]])[:n_terms]
        lists.append(mixed_list(way, media, Asked(terms, [1.0, -weight][:n_terms])))
    scores = np.stack(lists)
    first = np.argsort(-scores, axis=1)[:, :10] % len(media.texts)
    seen = (first == unwanted[:, None]).sum(axis=1)
    return _map(scores, media.classes[:, None], media), float(seen.mean())


def both(media: Media, way: Way) -> float:
    """mAP of two paraphrases at once: the items of both classes are wanted."""
    other = np.roll(np.arange(len(media.queries)), 1)
    pairs = zip(media.queries, media.queries[other], strict=True)
    asked = [Asked(np.stack(pair), [0.5, 0.5]) for pair in pairs]
    scores = np.stack([mixed_list(way, media, one) for one in asked])
    return _map(scores, np.stack([media.classes, media.classes[other]], axis=1), media)


def _map(scores: Scores, classes: NDArray[np.int64], media: Media) -> float:
    of_target = np.tile(np.arange(len(media.texts)), 2)
    relevant = (of_target[None, :, None] == classes[:, None, :]).any(axis=2)
    return float(average_precisions(scores, relevant).mean())


_REPORT = """{n} paraphrases of ImageNet classes, over 1000 texts and 1000 pictures in one list.
The author of the paraphrases also wrote the texts. The class nearest to each paraphrase is pushed
away, with the weight given; "unwanted" is how many of its two items are in the first ten.

{pushed}

Two paraphrases at once: mAP of the items of both.

{both}"""


def report(media: Media) -> str:
    """The section."""
    pushed, together = [], []
    for name, way in WAYS.items():
        figures = [push_away(media, way, weight) for weight in WEIGHTS]
        pushed.append((name, *(f"{found:.3f}, {seen:.2f}" for found, seen in figures)))
        together.append((name, f"{both(media, way):.3f}"))
    headings = ("mAP, unwanted", *(f"−{weight:g}" for weight in WEIGHTS))
    return _REPORT.format(
        n=len(media.queries),
        pushed=table(headings, pushed),
        both=table(("way", "mAP"), together[:3]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=Path, default=Path(".demo") / "quality" / "samples")
    body = report(load(parser.parse_args().samples))
    write_section("Queries of several terms", "python -m benchmarks.retrieval.terms", body)
    print(body)


if __name__ == "__main__":
    main()
