"""A third-party package: a kind of file, and a tower for its modality."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import invalidate_caches
from pathlib import Path

from encoder import registry as modalities
from ingest import isolate
from ingest.kinds import registry

KIND = """
from pathlib import Path
import numpy as np
from encoder.errors import CorruptMediaError
from encoder.types import Modality
from ingest.kinds import Kind, Match
from ingest.types import Segment

class Points(Kind):
    name = "points"
    label = "Point cloud"
    modality = Modality("points")
    formats = ("PTS",)
    media_types = frozenset({"model/pts"})
    suffixes = (".pts",)
    cost = "image"
    shows = True

    def sniff(self, head):
        return Match("model/pts", 1.0) if head.start.startswith(b"points") else None

    def describe(self, path, media_type, config):
        return {"title": path.stem, "n_points": len(self._read(path))}

    def segments(self, asset, path, config):
        yield Segment(asset.asset_id, self.modality, 0, self._read(path))

    def preview(self, asset, path, place, config):
        shown = np.full((64, 64, 3), 255, np.uint8)
        points = self._read(path)[:, :2]
        places = (20 + 20 * points / np.abs(points).max()).astype(int)
        shown[places[:, 0], places[:, 1]] = (200, 0, 0)
        return Segment(asset.asset_id, self.modality, 0, shown)

    def whole(self, segments, max_frames=16):
        return segments[0].content

    def _read(self, path):
        try:
            rows = [line.split() for line in path.read_text().splitlines()[1:]]
            points = np.array(rows, np.float64).reshape(-1, 3)
        except ValueError as error:
            raise CorruptMediaError(f"{path}: {error}.", remedy="Export it again.") from error
        if not len(points):
            raise CorruptMediaError(f"{path} has no points.", remedy="Export it again.")
        return points
"""

TOWER = '''

class Shapes:
    """A long cloud means a rod, any other a ball, as the model's own texts say."""

    def __init__(self, model):
        from encoder.types import TEXT
        text = model.towers[TEXT]
        names = ("a long thin rod", "a round ball")
        self._rows = [text.forward([text.prepare(name)]).rows[0] for name in names]

    def prepare(self, content):
        return np.ptp(np.asarray(content, np.float32), axis=0)[None]

    def forward(self, batch):
        spans = [np.sort(span[0]) for span in batch]
        return np.stack([self._rows[0 if span[2] > 3 * span[1] else 1] for span in spans])
'''

FACTS = "Metadata-Version: 2.1\nName: points-kind\nVersion: 1.0\n"
POINTS = "points_kind:Points"


def install(site: Path, target: str = POINTS, code: str = KIND, *, tower: bool = False) -> None:
    """Lay a package of one module, ``points_kind``, out in a folder as pip does."""
    facts = site / "points_kind-1.0.dist-info"
    facts.mkdir(parents=True)
    entries = f"[anymodal.kinds]\npoints = {target}\n"
    if tower:
        code += TOWER
        entries += "[anymodal.modalities]\npoints = points_kind:Shapes\n"
    (site / "points_kind.py").write_text(code)
    (facts / "METADATA").write_text(FACTS)
    (facts / "entry_points.txt").write_text(entries)


@contextmanager
def importable(site: Path) -> Iterator[None]:
    """What is installed in a folder is found, in this process and in those that decode."""
    sys.path.insert(0, str(site))
    forget()
    try:
        yield
    finally:
        sys.path.remove(str(site))
        forget()


def forget() -> None:
    """Look for packages anew."""
    sys.modules.pop("points_kind", None)
    invalidate_caches()
    registry.kinds.cache_clear()
    modalities.installed_points.cache_clear()
    modalities._installed.cache_clear()
    isolate.close()


def write_points(path: Path, length: float = 1.0) -> Path:
    """Sixteen points, along an edge if it is long."""
    corners = [(x, y, z) for x in (0.0, length) for y in (0, 1) for z in (0, 1)]
    lines = [f"{x} {y} {z}" for x, y, z in [*corners, *((x / 2, y, z) for x, y, z in corners)]]
    path.write_text("\n".join(["points", *lines, ""]))
    return path
