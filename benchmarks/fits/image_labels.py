"""Build `encoder/models/bundle/tables/image_labels.npz`: one row an ImageNet class.

    apt install wordnet-base        # WordNet 3.0; or unpack the package anywhere
    python -m benchmarks.fits.image_labels --minilm FOLDER [--wordnet /usr/share/wordnet]

The image tower names a picture's classes and represents it by the mean of their embeddings
(ConSE: Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic Embeddings",
2013). The embedding of class c is ``t_c = L2(sum of e(s) for s in sentences(c))``, where e is
the text tower (all-MiniLM-L6-v2, mean-pooled, unit length) and the sentences are the class's
first lemma, its gloss, "lemma, a kind of h1, h2, h3" with its nearest three hypernyms, a plain
description of what is seen in such a picture, and "lemma: description". A dictionary defines,
but people describe: the descriptions (``imagenet_descriptions.txt``, ours, line c for
class c) raise the recall of free wording; see ``benchmarks/results/``.

The table holds ``embeddings`` float16 [1000, 384], unit rows in ImageNet's class order, and
``names`` [1000], the first lemmas. ``imagenet_wnids.txt`` gives the order: line c is the WordNet
3.0 offset of class c. The same inputs give the same bytes.

``--minilm`` is a folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.models.bundle.declaration import IMAGE_LABELS
from encoder.space import l2_normalize
from encoder.types import Embeddings

HERE = Path(__file__).parent

Encode = Callable[[Sequence[str]], Embeddings]


@dataclass(frozen=True)
class Synset:
    """A noun of WordNet: its names, its definition, the offsets of its hypernyms."""

    lemmas: tuple[str, ...]
    gloss: str
    hypernyms: tuple[int, ...]


class Nouns:
    """WordNet's ``data.noun``, read by byte offset.

    Args:
        data: the whole file.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __getitem__(self, offset: int) -> Synset:
        line = self._data[offset : self._data.index(b"\n", offset)].decode()
        if not line.startswith(f"{offset:08d} "):
            raise LookupError(f"No synset at offset {offset}: this is not WordNet 3.0.")
        return parse_synset(line)

    def chain(self, offset: int) -> list[Synset]:
        """The synset's hypernyms, nearest first, up to the root."""
        found: list[Synset] = []
        hypernyms = self[offset].hypernyms
        while hypernyms:
            found.append(self[hypernyms[0]])
            hypernyms = found[-1].hypernyms
        return found


def parse_synset(line: str) -> Synset:
    """Read one line of ``data.noun`` (its format: ``man 5 wndb``)."""
    head, _, gloss = line.partition(" | ")
    fields = head.split()
    n_lemmas = int(fields[3], 16)
    lemmas = tuple(name.replace("_", " ") for name in fields[4 : 4 + 2 * n_lemmas : 2])
    pointers = fields[5 + 2 * n_lemmas :]
    hypernyms = tuple(
        int(pointers[i + 1]) for i in range(0, len(pointers) - 3, 4) if pointers[i] in ("@", "@i")
    )
    return Synset(lemmas, gloss.strip(), hypernyms)


def sentences(nouns: Nouns, offset: int, description: str) -> list[str]:
    """The descriptions of a class; each sentence has the same weight."""
    synset = nouns[offset]
    name = synset.lemmas[0]
    kinds = ", ".join(parent.lemmas[0] for parent in nouns.chain(offset)[:3])
    kind = f"{name}, a kind of {kinds}"
    return [name, synset.gloss, kind, description, f"{name}: {description}"]


def label_embeddings(encode: Encode, texts: Sequence[Sequence[str]]) -> NDArray[np.float16]:
    """One unit row for each class: the normalized sum of its sentences' embeddings."""
    sums = [encode(list(of_class)).sum(axis=0) for of_class in texts]
    return l2_normalize(np.stack(sums)).astype(np.float16)


def load_encode(minilm: Path) -> Encode:
    """The bundle's text tower in torch, one text at a time, so that no padding moves a bit."""
    from encoder.networks.bert import load_sentence_bert
    from encoder.runtime.torch import TorchSession
    from encoder.towers.text import TextTower, load_tokenizer

    tower = TextTower(
        load_tokenizer(minilm / "tokenizer.json"), TorchSession(load_sentence_bert(minilm))
    )
    return lambda texts: np.concatenate(
        [tower.forward([tower.prepare(text)]).rows for text in texts]
    )


def label_table(encode: Encode, wordnet: Path) -> NDArray[np.float16]:
    """The embeddings of all classes, [n_classes, embed_dim], in ImageNet's order."""
    nouns = Nouns((wordnet / "data.noun").read_bytes())
    described = zip(read_offsets(), read_descriptions(), strict=True)
    texts = [sentences(nouns, offset, description) for offset, description in described]
    return label_embeddings(encode, texts)


def read_offsets(path: Path = HERE / "imagenet_wnids.txt") -> list[int]:
    """The noun offsets of the classes, in ImageNet's order."""
    return [int(wnid[1:]) for wnid in path.read_text("ascii").split()]


def read_descriptions(path: Path = HERE / "imagenet_descriptions.txt") -> list[str]:
    """What a picture of each class shows, in ImageNet's order."""
    return path.read_text("ascii").splitlines()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minilm", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--out", type=Path, default=IMAGE_LABELS)
    args = parser.parse_args()
    nouns = Nouns((args.wordnet / "data.noun").read_bytes())
    embeddings = label_table(load_encode(args.minilm), args.wordnet)
    names = np.array([nouns[offset].lemmas[0] for offset in read_offsets()])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out, embeddings=embeddings, names=names)
    print(f"{args.out}: {embeddings.shape}, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
