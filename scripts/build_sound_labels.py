"""Build `encoder/models/tables/sound_labels.npz`: names of sounds and their embeddings.

    python scripts/build_sound_labels.py --bundle ~/.cache/anymodal/bundle/default-v1

The audio tower names a sound's categories and stands for it by the mean of their embeddings.
The categories are those of the Universal Category System (UCS); ``scripts/ucs_categories.tsv``
gives each a short name and phrases for what one hears. Category c is

    u_c = L2(e(name) + e("name: phrase, phrase, …") + L2(mean e(phrase)))

where e is the text tower (all-MiniLM-L6-v2, mean-pooled, unit length).

The network's two classifiers lack some categories; which ones is not documented and was inferred
from what each class responds to. The same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.space import l2_normalize
from encoder.types import Embeddings

HERE = Path(__file__).parent
TABLE = HERE.parent / "encoder" / "models" / "tables" / "sound_labels.npz"
LACKING = (
    frozenset({"ARCHIVED", "CHAINS", "LEATHER", "WINDOWS"}),
    frozenset({"ARCHIVED", "FOLEY", "LEATHER"}),
)

Encode = Callable[[Sequence[str]], Embeddings]


def read_rows(path: Path) -> list[tuple[str, ...]]:
    """The tab-separated rows of a file; lines that start with ``#`` are comments."""
    lines = path.read_text("utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]


def embed_category(encode: Encode, name: str, description: str) -> NDArray[np.float32]:
    """One category's place in the space, float32 [embed_dim]."""
    phrases = [phrase.strip() for phrase in description.split("|")]
    alone, together = encode([name, f"{name}: {', '.join(phrases)}"])
    return l2_normalize(alone + together + l2_normalize(encode(phrases).mean(axis=0)))


def ucs_table(encode: Encode, rows: Sequence[tuple[str, ...]]) -> dict[str, NDArray[np.generic]]:
    """The arrays that concern the UCS categories."""
    embeddings = np.stack([embed_category(encode, name, text) for _, name, text in rows])
    table: dict[str, NDArray[np.generic]] = {
        "ucs_embeddings": embeddings.astype(np.float16),
        "ucs_names": np.array([name for name, *_ in rows]),
    }
    for head, lacking in enumerate(LACKING):
        columns = [i for i, (name, *_) in enumerate(rows) if name not in lacking]
        table[f"ucs_columns_{head}"] = np.array(columns, np.int16)
    return table


def text_encoder(folder: Path) -> Encode:
    """The text tower of a bundle, as a function."""
    from encoder.towers.text import load

    tower = load(folder, n_threads=1)
    return lambda texts: np.concatenate([tower.forward([tower.prepare(text)]) for text in texts])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--out", type=Path, default=TABLE)
    arguments = parser.parse_args()
    encode = text_encoder(arguments.bundle / "text")
    table = ucs_table(encode, read_rows(HERE / "ucs_categories.tsv"))
    np.savez_compressed(arguments.out, allow_pickle=False, **table)
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
