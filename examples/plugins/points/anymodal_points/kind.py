"""PLY, LAS, XYZ and NPY files become at most 4,096 points."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.errors import CorruptMediaError, UnsupportedMediaError
from encoder.types import IMAGE, Modality
from ingest import Asset, IngestConfig, Segment
from ingest.kinds import Head, Kind, Match, Place
from ingest.types import Fact

PLY, LAS, XYZ, NPY = "model/ply", "application/vnd.las", "model/xyz", "application/x-npy-points"
_KEPT = 4096
_FEWEST = 32
_SIDE = 320
_ROW = re.compile(rb"\s*(-?\d+\.\d+(e[+-]?\d+)?\s+){2}-?\d+\.\d+(e[+-]?\d+)?(\s+-?[\d.e+-]+)*\s*")


class PointCloud(Kind):
    """Point clouds, and meshes by their corners."""

    name, label = "points", "Point cloud"
    modality = Modality("points")
    formats = ("PLY", "LAS", "XYZ", "NPY of points")
    media_types = frozenset({PLY, LAS, XYZ, NPY})
    suffixes = (".ply", ".las", ".xyz", ".npy")
    cost = "image"
    max_bytes = "max_media_bytes"
    shows = True

    def sniff(self, head: Head) -> Match | None:
        """By signatures; XYZ by lines of three decimal fractions, and maybe colours after them."""
        if head.data.startswith((b"ply\n", b"ply\r\n")):
            return Match(PLY, 0.95)
        if head.data.startswith(b"LASF"):
            return Match(LAS, 0.95)
        if head.data.startswith(b"\x93NUMPY"):
            return Match(NPY, 0.95) if _holds_points(head.data) else None
        lines = head.data.splitlines()[:50]
        if len(lines) < 50 or not head.is_text or not all(map(_ROW.fullmatch, lines[:-1])):
            return None
        return Match(XYZ, 0.8)

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title and n_points."""
        return {"title": path.stem, "n_points": len(_read(path, media_type))}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:  # noqa: ARG002
        """One, float32 [n, 3]."""
        yield Segment(asset.asset_id, self.modality, 0, _thinned(path, asset.media_type))

    def preview(self, asset: Asset, path: Path, place: Place, config: IngestConfig) -> Segment:  # noqa: ARG002
        """The cloud seen from above its corner; nearer points are darker."""
        return Segment(asset.asset_id, IMAGE, 0, drawn(_thinned(path, asset.media_type)))

    def whole(self, segments: Sequence[Segment], max_frames: int = 16) -> NDArray[np.float32]:  # noqa: ARG002
        """The points."""
        points: NDArray[np.float32] = segments[0].content
        return points


def drawn(points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Points [n, 3] as a picture [320, 320, 3]."""
    centred = points - (points.min(axis=0) + points.max(axis=0)) / 2
    right, up = np.array([0.8, -0.6, 0.0]), np.array([0.3, 0.4, 0.866])
    seen = np.stack([centred @ right, -centred @ up, centred @ np.cross(right, up)], axis=1)
    scaled = seen / max(float(np.abs(seen).max()), 1e-9)
    at = ((scaled[:, :2] * 0.92 + 1) / 2 * (_SIDE - 2)).astype(int)
    shown = np.full((_SIDE, _SIDE), 250, np.uint8)
    for place in np.argsort(scaled[:, 2]):
        x, y = at[place]
        shown[y : y + 2, x : x + 2] = 120 - 80 * scaled[place, 2]
    return np.repeat(shown[..., None], 3, axis=2)


def _holds_points(data: bytes) -> bool:
    try:
        version = np.lib.format.read_magic(file := io.BytesIO(data))
        if version not in ((1, 0), (2, 0)):
            return False
        read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
        shape, _, dtype = read(file)
    except (ValueError, SyntaxError):
        return False
    return len(shape) == 2 and shape[1] in (3, 4, 6, 7) and dtype.kind == "f"


def _thinned(path: Path, media_type: str) -> NDArray[np.float32]:
    points = _read(path, media_type)
    step = max(1, -(-len(points) // _KEPT))
    near: NDArray[np.float32] = (points - points.mean(axis=0))[::step].astype(np.float32)
    return near


def _read(path: Path, media_type: str) -> NDArray[np.float64]:
    """Finite points, [n, 3]."""
    try:
        points = np.asarray(_rows(path, media_type), np.float64)[:, :3]
    except Exception as error:  # the readers raise whatever they meet
        raise CorruptMediaError(
            f"{path} cannot be read as a point cloud ({type(error).__name__}: {error}).",
            remedy="Export it again.",
        ) from error
    kept = points[(np.abs(points) < 1e12).all(axis=1)]  # NaN is not less
    if len(kept) < _FEWEST:
        raise UnsupportedMediaError(
            f"{path} has {len(kept)} points.", remedy=f"A cloud has {_FEWEST} or more."
        )
    return kept


def _rows(path: Path, media_type: str) -> NDArray[np.float64]:
    if media_type == NPY:
        return np.load(path, allow_pickle=False)
    if media_type == LAS:
        import laspy

        return np.asarray(laspy.read(path).xyz)
    if media_type == XYZ:
        return np.loadtxt(path, usecols=(0, 1, 2), ndmin=2)
    import trimesh

    with path.open("rb") as file:
        return np.asarray(trimesh.load(file, file_type="ply", process=False).vertices)
