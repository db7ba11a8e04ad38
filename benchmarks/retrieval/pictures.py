"""How well words find pictures, with the offline bundle.

    python -m benchmarks.retrieval.pictures [--samples FOLDER] [--stamps FOLDER]
        [--descriptions FOLDER]

Media are fetched into ``.demo/quality`` unless a folder is given; see `picture_sets`.

``benchmarks/data/paraphrases.tsv`` was written before any result was seen, for classes drawn at
random (dog breeds and species that only an expert distinguishes left out). The half ``dev`` was
looked at while the label table was made, the half ``test`` was not. Their author also wrote the
table's descriptions, which flatters both; so another author's descriptions are used as queries
too, with the class names masked.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpora import picture_sets
from benchmarks.harness.ranking_measures import first_ranks, mean_reciprocal_rank, recall_at
from benchmarks.harness.results_pages import table, write_section
from encoder import MultiModalEncoder
from encoder.media.image import load_image
from encoder.models.bundle.declaration import IMAGE_LABELS
from encoder.types import IMAGE, TEXT, Embeddings, Item

PARAPHRASES = Path(__file__).parents[1] / "data" / "paraphrases.tsv"
WNIDS = Path(__file__).parents[2] / "scripts" / "imagenet_wnids.txt"
_AT_ONCE = 50

Row = tuple[str, int, int, str, str, str]
"""The kind of query, the number of queries, the number of pictures, R@1, R@10, MRR."""


def embed_pictures(encoder: MultiModalEncoder, paths: Sequence[Path]) -> Embeddings:
    """Unit rows [n, embed_dim]; a few pictures in memory at a time."""
    parts = [
        encoder.encode_items([Item(IMAGE, load_image(path)) for path in paths[i : i + _AT_ONCE]])
        for i in range(0, len(paths), _AT_ONCE)
    ]
    return np.concatenate(parts)


def embed_texts(encoder: MultiModalEncoder, texts: Iterable[str]) -> Embeddings:
    """Unit rows [n, embed_dim]."""
    return encoder.encode_items([Item(TEXT, text) for text in texts])


def row(name: str, scores: NDArray[np.floating], relevant: NDArray[np.bool_]) -> Row:
    """One line of the report."""
    ranks = first_ranks(scores, relevant)
    figures = (recall_at(ranks, 1), recall_at(ranks, 10), mean_reciprocal_rank(ranks))
    one, ten, mrr = (f"{figure:.3f}" for figure in figures)
    return name, *scores.shape, one, ten, mrr


def on_samples(encoder: MultiModalEncoder, folder: Path, descriptions: Path) -> list[Row]:
    """From class names, paraphrases and others' descriptions to the thousand sample pictures."""
    wnids = WNIDS.read_text("ascii").split()
    pictures = picture_sets.samples(folder)
    images = embed_pictures(encoder, [pictures[wnid] for wnid in wnids])
    names = np.load(IMAGE_LABELS)["names"].tolist()

    def ask(title: str, texts: Sequence[str], classes: Sequence[int]) -> Row:
        relevant = np.arange(len(wnids)) == np.asarray(classes)[:, None]
        return row(title, embed_texts(encoder, texts) @ images.T, relevant)

    rows = [ask("class name", names, range(len(names)))]
    with PARAPHRASES.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file, delimiter="\t"))
    for split in ("dev", "test"):
        chosen = [line for line in lines if line["split"] == split]
        classes = [wnids.index(line["wnid"]) for line in chosen]
        rows.append(ask(f"own paraphrase, {split}", [line["text"] for line in chosen], classes))
    texts, classes = masked(picture_sets.descriptions(descriptions), names)
    rows.append(ask("description by others, name masked", texts, classes))
    return rows


def masked(
    described: Sequence[tuple[str, Sequence[str]]], names: Sequence[str], per_class: int = 3
) -> tuple[list[str], list[int]]:
    """The first sentences of each class without either of its names, and their classes.

    >>> masked([("tench", ["A tench is a green fish of the lake."])], ["tench"])
    (['it is a green fish of the lake.'], [0])
    """
    texts: list[str] = []
    classes: list[int] = []
    for index, (name, sentences) in enumerate(described):
        words = sorted({*name.lower().split(), *names[index].lower().split()}, key=len)
        spoken = "|".join(re.escape(word) for word in reversed(words) if len(word) > 2)
        pattern = re.compile(rf"(?i)\b(?:(?:an?|the) )?(?:(?:{spoken})(?:e?s)?\b[ -]?)+")
        hidden = [pattern.sub("it ", sentence).strip() for sentence in sentences[:per_class]]
        long = [text for text in hidden if len(text.split()) >= 6]
        texts += long
        classes += [index] * len(long)
    return texts, classes


def on_stamps(encoder: MultiModalEncoder, folder: Path) -> list[Row]:
    """From captions to photographs of a different source; several can have the same caption."""
    stamps = picture_sets.stamps(folder)
    images = embed_pictures(encoder, [stamp.path for stamp in stamps])
    captions = sorted({stamp.caption for stamp in stamps})
    relevant = np.array([[stamp.caption == caption for stamp in stamps] for caption in captions])
    scores = embed_texts(encoder, captions) @ images.T
    names = set(np.load(IMAGE_LABELS)["names"].tolist())
    known = np.array([bool(known_name(caption, names)) for caption in captions])
    return [
        row("caption", scores, relevant),
        row("caption that names an ImageNet class", scores[known], relevant[known]),
    ]


def known_name(caption: str, names: set[str]) -> str:
    """The class name that a caption consists of, without its article; empty if there is none.

    >>> known_name("A goldfish.", {"goldfish"})
    'goldfish'
    """
    bare = re.sub(r"^(an?|the|some) ", "", caption.strip(" .!").lower())
    return bare if bare in names else ""


_REPORT = """One picture for each ImageNet class (imagenet-sample-images; probably training
images, so optimistic). The author of the paraphrases also wrote the descriptions in the label
table; the descriptions by others (CuPL) are independent of both.

{samples}

Photographs of another source (Debian's tuxpaint-stamps-default), by their captions; many show what
ImageNet has no class for.

{stamps}"""


def main() -> None:
    home = Path(".demo") / "quality"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for media in ("samples", "stamps", "descriptions"):
        parser.add_argument(f"--{media}", type=Path, default=home / media)
    args = parser.parse_args()
    encoder = MultiModalEncoder("bundle:english", quantization=None, enable_dsre=False)
    headings = ("query", "queries", "pictures", "R@1", "R@10", "MRR")
    body = _REPORT.format(
        samples=table(headings, on_samples(encoder, args.samples, args.descriptions)),
        stamps=table(headings, on_stamps(encoder, args.stamps)),
    )
    write_section("Words to pictures", "python -m benchmarks.retrieval.pictures", body)
    print(body)


if __name__ == "__main__":
    main()
