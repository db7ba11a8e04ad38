"""A corpus in which texts, pictures and sounds compete: what calibration is fitted and judged on.

Its concepts are the ten of ESC-10 (``--clips``) and the thousand classes of ImageNet. A concept
has texts (ours in ``data/mixed_texts.tsv``; for ImageNet classes three sentences of CuPL),
pictures (the samples) and sounds (the clips), and is asked for in words (its name, and our
paraphrases where there are any), by picture and by sound. A found item is right if it is of the
query's concept, whatever its modality.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpora import picture_sets
from encoder import MultiModalEncoder
from encoder.media.image import load_image
from encoder.media.sound import load_sound
from encoder.models.bundle.declaration import IMAGE_LABELS
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Item, Modality

MODALITIES = (TEXT, IMAGE, AUDIO)
TEXTS, PARAPHRASES = (
    Path(__file__).parents[1] / "data" / name for name in ("mixed_texts.tsv", "paraphrases.tsv")
)
PICTURES = {
    "Dog bark": ("n02099601", "n02099712", "n02106662", "n02110958", "n02113023", "n02085620"),
    "Sea waves": ("n09428293", "n09421951"),
    "Clock tick": ("n02708093", "n04548280"),
    "Chainsaw": ("n03000684",),
    "Rooster": ("n01514668",),
}
"""ImageNet classes that show a concept of ESC-10."""


@dataclass(frozen=True, eq=False)
class Items:
    """Embeddings [n, embed_dim] of one modality and the number of each one's concept [n]."""

    embeddings: Embeddings
    concepts: NDArray[np.int64]

    def of(self, concepts: NDArray[np.int64]) -> Items:
        """Only the items of some concepts."""
        chosen = np.isin(self.concepts, concepts)
        return Items(self.embeddings[chosen], self.concepts[chosen])


@dataclass(frozen=True, eq=False)
class Corpus:
    """Queries and targets by modality."""

    queries: dict[Modality, Items]
    targets: dict[Modality, Items]

    def of(self, concepts: NDArray[np.int64]) -> Corpus:
        """The part about some concepts, without anything of the others."""
        return Corpus(
            {modality: items.of(concepts) for modality, items in self.queries.items()},
            {modality: items.of(concepts) for modality, items in self.targets.items()},
        )


def load(samples: Path, descriptions: Path, clips: Path) -> Corpus:
    """Read and embed the whole corpus."""
    names, queries, targets = _contents(samples, descriptions, clips)
    encoder = MultiModalEncoder("bundle:english", quantization=None, enable_dsre=False)

    def embed(modality: Modality, pairs: Sequence[tuple[str, object]]) -> Items:
        rows = [encoder.encode_items([Item(modality, _content(modality, c))])[0] for _, c in pairs]
        return Items(np.stack(rows), np.array([names.index(name) for name, _ in pairs]))

    found = {modality: embed(modality, targets[modality]) for modality in MODALITIES}
    asked = {TEXT: embed(TEXT, queries), IMAGE: found[IMAGE], AUDIO: found[AUDIO]}
    return Corpus(asked, found)


def _content(modality: Modality, source: object) -> object:
    if modality == TEXT:
        return source
    return load_image(Path(str(source))) if modality == IMAGE else load_sound(Path(str(source)))


Pairs = list[tuple[str, object]]


def _contents(
    samples: Path, descriptions: Path, clips: Path
) -> tuple[list[str], Pairs, dict[Modality, Pairs]]:
    """The concepts' names; text queries; texts, pictures and sounds, each with its concept."""
    ours = _read(TEXTS)
    pictures = picture_sets.samples(samples)
    sentences = picture_sets.descriptions(descriptions)
    wnids = picture_sets.WNIDS.read_text("ascii").split()
    labels = np.load(IMAGE_LABELS)["names"].tolist()
    shown = {wnid: concept for concept, of_it in PICTURES.items() for wnid in of_it}
    queries: Pairs = [(row["concept"], row["text"]) for row in ours if row["role"] == "query"]
    texts: Pairs = [(row["concept"], row["text"]) for row in ours if row["role"] == "text"]
    images: Pairs = [(concept, pictures[wnid]) for wnid, concept in shown.items()]
    for wnid, label, (_, of_class) in zip(wnids, labels, sentences, strict=True):
        if wnid not in shown:
            queries.append((wnid, label))
            texts += [(wnid, sentence) for sentence in of_class[:3]]
            images.append((wnid, pictures[wnid]))
    queries += [
        (row["wnid"], row["text"]) for row in _read(PARAPHRASES) if row["wnid"] not in shown
    ]
    folders = sorted(folder for folder in clips.iterdir() if folder.is_dir())
    sounds: Pairs = [
        (re.sub(r"^\d+ - ", "", folder.name), path)
        for folder in folders
        for path in sorted(folder.iterdir())
    ]
    names = list(dict.fromkeys(name for name, _ in queries))
    return names, queries, {TEXT: texts, IMAGE: images, AUDIO: sounds}


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))
