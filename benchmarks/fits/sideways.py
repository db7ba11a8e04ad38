"""Fit `Space.sideways` of a bundle: by their embedding, which pictures lie on their side.

    python -m benchmarks.fits.sideways bundle:multilingual FOLDER \
        --table encoder/models/bundle/tables/sideways_multilingual.npz

``FOLDER`` holds upright photographs: 1,999 of COCO, ``data/images`` of semantic-image-search (see
`benchmarks.fits.captioned_pictures`). It is a ridge regression from the embeddings of each after 0
to 3 quarter turns to 1 for those on their side and -1 for the others. Half of them decide the
limit, which `PASSING` of the upright ones exceed: that is how many queries are encoded again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder import MultiModalEncoder
from encoder.media.image import load_image
from encoder.space import Sideways
from encoder.types import IMAGE, Embeddings, Item

PASSING = 0.03
_RIDGE = 0.1
_WANTED = (-1.0, 1.0, -1.0, 1.0)


def main() -> None:
    """Fit, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    given = parser.parse_args()
    encoder = MultiModalEncoder(given.model, quantization="int8")
    sideways = fitted(turned(encoder, sorted(given.folder.glob("*.jpg"))))
    direction = sideways.direction.astype(np.float16)
    np.savez_compressed(given.table, direction=direction, limit=np.float32(sideways.limit))


def turned(encoder: MultiModalEncoder, paths: list[Path]) -> Embeddings:
    """The embeddings of each picture after 0 to 3 quarter turns, [n, 4, embed_dim]."""
    pictures = [load_image(path) for path in paths]
    return np.stack(
        [
            encoder.encode_items([Item(IMAGE, np.rot90(rgb, quarters)) for quarters in range(4)])
            for rgb in pictures
        ]
    )


def fitted(rows: Embeddings) -> Sideways:
    """The regression on all rows, [n, 4, embed_dim], with a limit from those of the odd half."""
    direction, offset = _regression(rows[::2])
    upright = rows[1::2, 0] @ direction + offset
    limit = float(np.quantile(upright, 1 - PASSING))
    direction, offset = _regression(rows)
    return Sideways(direction.astype(np.float32), limit - offset)


def _regression(rows: Embeddings) -> tuple[NDArray[np.float64], float]:
    flat = rows.reshape(-1, rows.shape[-1]).astype(np.float64)
    mean = flat.mean(axis=0)
    scatter = (flat - mean).T @ (flat - mean)
    scatter[np.diag_indices_from(scatter)] += _RIDGE * np.trace(scatter) / len(scatter)
    direction = np.linalg.solve(scatter, (flat - mean).T @ np.tile(_WANTED, len(rows)))
    return direction, -float(direction @ mean)


if __name__ == "__main__":
    main()
