"""Fit what makes cosines of modalities comparable: `calibration.json` of the bundle's tables.

    python -m scripts.fit_calibration --clips ESC-10 [--samples FOLDER] [--descriptions FOLDER]

The cosine of a sentence to any text, picture or sound has its own typical level and spread (the
modality gap: Liang et al., "Mind the Gap", 2022). A mixed ranking compares ``(s - mu) / c``,
where mu is the mean and c the standard deviation of the cosines between text queries and targets
of that modality, drawn without labels: nearly all such pairs are unrelated, so the score says how
far a target stands out from chance. There are two constants for each target modality, whatever the
query.

They are judged on a corpus in which all modalities compete (`benchmarks.corpora.mixed`): constants
fitted on the queries and targets of one half of the concepts rank the other half, and vice versa;
mAP is averaged over both and over the three kinds of query. The written constants are fitted on
all. They are compared with raw cosines, reciprocal rank fusion (Cormack et al. 2009, k = 60) and a
z-score for each query's own lists. Logistic regression of relevance (Platt 1999), and medians and
quantiles instead of mean and deviation, were tried: none was better by more than .002.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpora import mixed
from benchmarks.corpora.mixed import MODALITIES, Corpus
from benchmarks.harness.ranking_measures import average_precisions
from benchmarks.harness.results_pages import table, write_section
from encoder.calibration.tables import write_constants
from encoder.models.bundle.declaration import TABLES
from encoder.space import Calibration
from encoder.types import TEXT, Modality

Cosines = Mapping[Modality, NDArray[np.float64]]
"""[n_queries, n_targets] by the modality of the targets."""

Fusion = Callable[[Cosines], Cosines]
"""Makes cosines of all modalities comparable."""


def fit(corpus: Corpus) -> dict[Modality, Calibration]:
    """Mean and deviation of the cosines of text queries to each modality's targets."""
    queries = corpus.queries[TEXT].embeddings
    cosines = {m: queries @ corpus.targets[m].embeddings.T for m in MODALITIES}
    return {m: Calibration(float(of.mean()), float(of.std())) for m, of in cosines.items()}


def calibrated(constants: Mapping[Modality, Calibration]) -> Fusion:
    """What the search does."""
    return lambda cosines: {m: constants[m].apply(of) for m, of in cosines.items()}


def reciprocal_rank(cosines: Cosines, k: int = 60) -> Cosines:
    """1 / (k + rank), each modality's list on its own."""
    ranks = {m: np.argsort(np.argsort(-of, axis=1), axis=1) for m, of in cosines.items()}
    return {m: 1.0 / (k + 1 + of) for m, of in ranks.items()}


def z_score(cosines: Cosines) -> Cosines:
    """Mean 0 and deviation 1 in each query's list of each modality."""
    return {
        m: (of - of.mean(axis=1, keepdims=True)) / of.std(axis=1, keepdims=True)
        for m, of in cosines.items()
    }


def mean_average_precision(corpus: Corpus, kind: Modality, fuse: Fusion) -> float:
    """mAP of the queries of one kind over the targets of all modalities."""
    asked, targets = corpus.queries[kind], corpus.targets
    cosines = {m: (asked.embeddings @ targets[m].embeddings.T).astype(float) for m in MODALITIES}
    relevant = {m: asked.concepts[:, None] == targets[m].concepts for m in MODALITIES}
    fused = {m: scores.copy() for m, scores in fuse(cosines).items()}
    if kind != TEXT:  # a query by picture or sound is itself among the targets
        np.fill_diagonal(fused[kind], -np.inf)
        np.fill_diagonal(relevant[kind], False)
    scores = np.concatenate([fused[m] for m in MODALITIES], axis=1)
    right = np.concatenate([relevant[m] for m in MODALITIES], axis=1)
    answered = right.any(axis=1)
    return float(average_precisions(scores[answered], right[answered]).mean())


def judge(corpus: Corpus) -> dict[str, list[float]]:
    """For each way of fusing, mAP by kind of query, each half judged by the other's constants."""
    concepts = np.unique(corpus.queries[TEXT].concepts)
    halves = [corpus.of(concepts[::2]), corpus.of(concepts[1::2])]
    found: dict[str, list[list[float]]] = {}
    for half, other in (halves, halves[::-1]):
        ways: dict[str, Fusion] = {
            "raw cosine": lambda cosines: cosines,
            "reciprocal rank fusion": reciprocal_rank,
            "z-score of each list": z_score,
            "calibrated": calibrated(fit(other)),
        }
        for name, way in ways.items():
            figures = [mean_average_precision(half, kind, way) for kind in MODALITIES]
            found.setdefault(name, []).append(figures)
    return {name: np.mean(figures, axis=0).tolist() for name, figures in found.items()}


def report(corpus: Corpus) -> str:
    """A Markdown table of `judge`."""
    sizes = ", ".join(f"{len(corpus.targets[m].concepts)} {m}" for m in MODALITIES)
    rows = [
        (name, *(f"{figure:.3f}" for figure in (*figures, np.mean(figures))))
        for name, figures in judge(corpus).items()
    ]
    headings = ("scores", *(f"by {kind}" for kind in MODALITIES), "mean")
    return (
        f"mAP of mixed rankings of text, pictures and sounds ({sizes}). The constants of each half"
        " of the concepts are fitted, without labels, on the other; each half is ranked alone, so"
        " figures are higher than those of `benchmarks.retrieval.calibration`, which ranks all"
        " concepts together.\n\n"
        f"{table(headings, rows)}"
    )


def main() -> None:
    home = Path(".demo") / "quality"
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clips", type=Path, required=True, help="ESC-10: one folder a class")
    parser.add_argument("--samples", type=Path, default=home / "samples")
    parser.add_argument("--descriptions", type=Path, default=home / "descriptions")
    args = parser.parse_args()
    corpus = mixed.load(args.samples, args.descriptions, args.clips)
    body = report(corpus)
    constants, path = fit(corpus), TABLES / "calibration.json"
    write_constants(path, constants)
    write_section(
        "One ranking of all modalities", "python -m scripts.fit_calibration --clips ESC-10", body
    )
    print(body, constants, sep="\n\n")


if __name__ == "__main__":
    main()
