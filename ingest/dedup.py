"""Choose the frames of a film that are worth keeping. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.config import IngestConfig

Rgb = NDArray[np.uint8]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, eq=False)
class Frame:
    """A kept frame [h, w, 3], which stands for the film from ``start_s`` to ``end_s``."""

    rgb: Rgb
    start_s: float
    end_s: float


def dhash(rgb: Rgb) -> int:
    """The 64-bit difference hash: is each of 8 x 8 patches darker than its right neighbour?

    Robust to scale, light and compression; ignores colour.

    Args:
        rgb: uint8 [h, w, 3].
    """
    patches = _shrink(rgb @ _LUMA, 8, 9)
    # Half a grey level of slack, so that noise in flat areas does not decide.
    bits = patches[:, 1:] - patches[:, :-1] > 0.5
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hash_distance(a: int, b: int) -> int:
    """The number of bits that differ."""
    return (a ^ b).bit_count()


def color_histogram(rgb: Rgb) -> NDArray[np.float64]:
    """The shares of 64 colours (4 levels of red, green and blue), float64 [64], sum 1."""
    step = max(1, min(rgb.shape[:2]) // 96)
    levels = (rgb[::step, ::step] >> 6).astype(np.intp)
    index = levels[..., 0] * 16 + levels[..., 1] * 4 + levels[..., 2]
    counts = np.bincount(index.ravel(), minlength=64)
    return np.asarray(counts / counts.sum(), np.float64)


def histogram_change(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The share of pixels, 0 to 1, whose colour must change to turn one into the other."""
    return float(np.abs(a - b).sum() / 2)


def keep_frames(
    frames: Iterable[tuple[float, Rgb]], end_s: float, config: IngestConfig
) -> Iterator[Frame]:
    """Keep a frame at each scene change, and else one per interval unless it is a near-duplicate.

    Both are compared with the last kept frame, so that a slow pan counts too. A frame is a
    near-duplicate if its dHash differs in at most ``duplicate_bits`` bits. A kept frame's time
    span runs to the next kept frame: the film is covered without a gap.

    Args:
        frames: seconds and uint8 [h, w, 3], in order of time.
        end_s: where the film ends, if known, else 0.
    """
    last_look: _FrameLook | None = None
    last_s = 0.0
    for last_s, rgb in frames:
        look = _FrameLook(last_s, rgb, color_histogram(rgb), dhash(rgb))
        if last_look is not None:
            if not _is_news(look, last_look, config):
                continue
            yield Frame(last_look.rgb, last_look.time_s, look.time_s)
        last_look = look
    if last_look is not None:
        yield Frame(last_look.rgb, last_look.time_s, max(end_s, last_s))


class _FrameLook(NamedTuple):
    time_s: float
    rgb: Rgb
    histogram: NDArray[np.float64]
    hash: int


def _is_news(look: _FrameLook, last_look: _FrameLook, config: IngestConfig) -> bool:
    if histogram_change(look.histogram, last_look.histogram) > config.scene_change:
        return True
    # Frames do not fall exactly on the interval.
    if look.time_s - last_look.time_s < config.frame_interval_s - config.frame_every_s / 4:
        return False
    return hash_distance(look.hash, last_look.hash) > config.duplicate_bits


def _shrink(grey: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Means of rows x columns patches of a picture [h, w] of at least one pixel."""
    if grey.shape[0] < rows or grey.shape[1] < columns:
        grey = grey.repeat(-(-rows // grey.shape[0]), 0).repeat(-(-columns // grey.shape[1]), 1)
    return _patch_means(_patch_means(grey, rows).T, columns).T


def _patch_means(values: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Means over n nearly equal groups of rows: [h, w] to [n, w]."""
    edges = np.arange(n) * values.shape[0] // n
    sizes = np.diff(np.append(edges, values.shape[0]))
    return np.asarray(np.add.reduceat(values, edges, axis=0) / sizes[:, None], np.float32)
