"""Fit `encoder/models/bundle/tables/image_head.npz`: what people say of a picture.

    python -m benchmarks.fits.picture_head --image FOLDER --text FOLDER [--wordnet FOLDER]

``--image`` and ``--text`` are folders of the multilingual bundle's parts, prepared for use. The
head is a ridge regression from EfficientNet-Lite2's logits and pooled features to captions in the
text space (`encoder.towers.image`). Features are standardised, and each output of the
network is scaled by 1/√d, where d is its width, so that wide outputs weigh no more. The target is
the mean of a picture's captions less the mean of all pictures, and λ is 3 times the mean square of
a picture's features.

Rows are then transformed to answer best (`answering`): sentences by several people, in several
languages, about the same photographs show what in an embedding is wording and language, not
content. The label table, which is that of `benchmarks.fits.image_labels` for e5, is transformed in
the same way.

Photographs that `benchmarks.fits.photo_captions` asks for are left out. ``--open-only`` fits
on those whose licences allow derived works for any purpose. The same files on the same processor
give the same bytes. ``benchmarks/picture_head.md`` lists what else was tried.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.fits import captioned_pictures, image_labels, photo_captions
from benchmarks.fits.captioned_pictures import OPEN_LICENCES, Captioned
from encoder.media.image import load_image
from encoder.models.bundle.kinds import IMAGE_HEAD, image_network, open_e5
from encoder.models.precision import Precision
from encoder.space import l2_normalize
from encoder.towers.image import ImageHead, features_of, to_pixels
from encoder.towers.text import WindowedTextTower
from encoder.types import Embeddings

RIDGE = 3.0
WHITENED = 0.25
"""The power of the scatter to divide by: 0 leaves it unchanged, 0.5 would make it round."""

_FLOOR = 0.1
_AT_ONCE = 50
_LEAST_DEVIATION = 1e-6

Matrix = NDArray[np.float64]


def main() -> None:
    """Fit, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--open-only", action="store_true")
    parser.add_argument("--out", type=Path, default=IMAGE_HEAD)
    given = parser.parse_args()
    pictures = chosen(open_only=given.open_only)
    text = open_e5(given.text, precision=Precision(int8=True))
    captions = caption_means(text.query, pictures)
    turned = answering(sentences(text.query), captions.mean(axis=0))
    labels = image_labels.label_table(text_encoder(text), given.wordnet).astype(np.float64)
    features, widths = features_for(given.image, [picture.path for picture in pictures])
    write(fit(features, widths, captions, turned, labels), given.out)
    print(f"{given.out}: {len(pictures)} photographs, {given.out.stat().st_size} bytes")


def chosen(*, open_only: bool) -> list[Captioned]:
    """The photographs to fit on."""
    pictures = captioned_pictures.read()
    kept_back = photo_captions.held_back(pictures)
    return [
        picture
        for picture in pictures
        if picture.name not in kept_back and (picture.licence in OPEN_LICENCES or not open_only)
    ]


def features_for(folder: Path, paths: Sequence[Path]) -> tuple[NDArray[np.float32], list[int]]:
    """Features as int8 gives them, [n, n_features], and the width of each of the outputs."""
    session = Precision(int8=True).open(image_network(folder), None)
    parts = []
    for start in range(0, len(paths), _AT_ONCE):
        batch = [to_pixels(load_image(path)) for path in paths[start : start + _AT_ONCE]]
        parts.append(features_of(session, batch))
    widths = [array.shape[1] for array in session.run({"pixels": batch[0][None]})]
    return np.concatenate(parts), widths


def text_encoder(tower: WindowedTextTower) -> image_labels.Encode:
    """Encode texts as documents, which labels are."""
    return lambda texts: np.concatenate(
        [tower.forward([tower.prepare(text)]).rows for text in texts]
    )


def caption_means(tower: WindowedTextTower, pictures: Sequence[Captioned]) -> Embeddings:
    """The normalised mean of each picture's captions, as queries, [n, embed_dim]."""
    embedded = [
        tower.forward([tower.prepare(caption) for caption in picture.captions]).rows
        for picture in pictures
    ]
    return l2_normalize(np.stack([rows.mean(axis=0) for rows in embedded]))


def sentences(tower: WindowedTextTower) -> Matrix:
    """The embeddings, as queries, of captions of photographs neither fitted on nor queried.

    Returns:
        [n_photographs, n_languages, embed_dim].
    """
    said = photo_captions.not_asked(captioned_pictures.read())
    rows = [tower.forward([tower.prepare(one) for one in of_one]).rows for of_one in said]
    return np.stack(rows).astype(np.float64)


def answering(said: Matrix, common: NDArray[np.floating]) -> Matrix:
    """The matrix, [embed_dim, embed_dim], that turns what a picture shows into what answers.

    Sentences about the same photograph differ by language and wording. Rows are divided by the
    scatter of these differences to the power of `WHITENED`; Fisher's discriminant uses the power
    of 1. The directions in which languages differ, and what all captions share, are removed.

    Args:
        said: [n_photographs, n_languages, embed_dim].
        common: the mean of captions.
    """
    within = (said - said.mean(axis=1, keepdims=True)).reshape(-1, said.shape[2])
    scatter = within.T @ within
    values, vectors = np.linalg.eigh(scatter / np.trace(scatter) * len(scatter))
    whitened = (vectors * (values + _FLOOR) ** -WHITENED) @ vectors.T
    languages = said.mean(axis=0)
    gone, _ = np.linalg.qr(np.vstack([languages[1:] - languages[0], common]).T)
    turned: Matrix = whitened - (whitened @ gone) @ gone.T
    return turned


def fit(
    features: NDArray[np.float32],
    widths: Sequence[int],
    captions: Embeddings,
    turned: Matrix,
    labels: Matrix,
) -> ImageHead:
    """Solve the ridge regression, in its dual form, since there are more features than pictures."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.repeat(1 / np.sqrt(widths), widths) / np.maximum(deviation, _LEAST_DEVIATION)
    rows = ((features - mean) * scale).astype(np.float64)
    targets = captions - captions.mean(axis=0, dtype=np.float64)
    kernel = rows @ rows.T
    ridge = RIDGE * np.trace(kernel) / len(kernel)
    weight = rows.T @ np.linalg.solve(kernel + ridge * np.eye(len(kernel)), targets)
    arrays = mean, scale, weight @ turned, (labels - labels.mean(axis=0)) @ turned
    return ImageHead(*(array.astype(np.float32) for array in arrays))


def write(head: ImageHead, path: Path) -> None:
    """Write the table; weights and labels in float16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        mean=head.mean,
        scale=head.scale,
        weight=head.weight.astype(np.float16),
        labels=head.labels.astype(np.float16),
    )


if __name__ == "__main__":
    main()
