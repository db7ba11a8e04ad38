"""Build ``sounds_e5.npz``: names of sounds in the space of multilingual-e5-small.

    python scripts/build_multilingual_sounds.py --text-part FOLDER

The names, the categories and the head are those of ``sound_labels.npz``
(``scripts/build_sound_labels.py``), with two differences:

- The head does without the features of the speech model: they are taken to be at their mean, where
  they add nothing. Those of a multilingual Whisper take longer than all the rest of a sound.
- The head counts less than the categories. It is surer than it is right, and with a full share two
  of 100 sounds stood among the first four of more than 6 of 30 queries; with this one none does.

The same inputs give the same table on the same machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from build_sound_labels import HERE, Encode, embed_category, read_rows
from numpy.typing import NDArray

from encoder.models.sources.bundle.tables import SOUND_LABELS, SOUNDS_E5

_N_FEATURES = 1024
_SHARE = 0.4


def head_without_speech(
    table: dict[str, NDArray[np.generic]],
) -> dict[str, NDArray[np.generic]]:
    """The sound head's arrays, for the sound network's features alone."""
    weights = table["head_weights"].astype(np.float32)
    # A row of features is divided by the root of their number.
    weights *= np.sqrt(_N_FEATURES / len(weights))
    return {
        "head_names": table["head_names"],
        "head_mean": table["head_mean"][:_N_FEATURES],
        "head_deviation": table["head_deviation"][:_N_FEATURES],
        "head_weights": weights[:_N_FEATURES].astype(np.float16),
        "head_bias": table["head_bias"],
        "head_share": np.array(_SHARE, np.float32),
    }


def build(
    encode: Encode, english: dict[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """The whole table."""
    rows = read_rows(HERE / "ucs_categories.tsv")
    names = encode([str(name) for name in english["head_names"]])
    ucs = np.stack([embed_category(encode, name, text) for _, name, text in rows])
    kept = {key: english[key] for key in ("ucs_names", "ucs_columns_0", "ucs_columns_1")}
    placed = {"ucs_embeddings": ucs.astype(np.float16), "head_embeddings": names.astype(np.float16)}
    return {**kept, **head_without_speech(english), **placed}


def text_encoder(folder: Path) -> Encode:
    """The text tower of a part's folder, as a function; names are documents."""
    from encoder.models.sources.bundle.kinds.e5 import open_e5

    tower = open_e5(folder, n_threads=1)
    return lambda texts: np.concatenate([tower.forward([tower.prepare(text)]) for text in texts])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text-part", type=Path, required=True, help="what prepare_e5 made ready")
    parser.add_argument("--out", type=Path, default=SOUNDS_E5)
    arguments = parser.parse_args()
    with np.load(SOUND_LABELS) as table:
        english = dict(table)
    np.savez_compressed(
        arguments.out, allow_pickle=False, **build(text_encoder(arguments.text_part), english)
    )
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
