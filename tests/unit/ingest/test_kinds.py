"""The contract of kinds: ours keep it, and so does one of another package."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoder.errors import UnsupportedMediaError
from ingest import IngestConfig, identify, isolate, kinds, segments
from ingest.errors import KindError
from ingest.kinds import registry
from ingest.kinds.testing import check_kind
from tests.support.media import picture, write_film, write_pdf, write_sound

POINTS = """
from pathlib import Path
import numpy as np
from encoder.errors import CorruptMediaError
from encoder.types import Modality
from ingest.kinds import Kind, Match
from ingest.types import Segment

class Points(Kind):
    name = "points"
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
        shown = np.zeros((8, 8, 3), np.uint8)
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


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Installs a package of one module, ``points_kind``, as pip lays it out."""
    site = tmp_path / "site"

    def install(target: str, code: str = POINTS) -> None:
        facts = site / "points_kind-1.0.dist-info"
        facts.mkdir(parents=True)
        (site / "points_kind.py").write_text(code)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: points-kind\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[anymodal.kinds]\npoints = {target}\n")
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, "points_kind", raising=False)
        registry.kinds.cache_clear()
        isolate.close()

    yield install
    registry.kinds.cache_clear()
    isolate.close()


def write_points(path: Path) -> Path:
    path.write_text("points\n1 2 3\n4 5 6.5\n")
    return path


def samples(folder: Path) -> dict[str, list[Path]]:
    for name, text in (("a.txt", "Foxes run."), ("b.md", "# Foxes"), ("c.html", "<p>Foxes")):
        (folder / name).write_text(text)
    for suffix in ("png", "jpg", "tiff"):
        Image.fromarray(picture(60, 40)).save(folder / f"a.{suffix}")
    return {
        "text": [folder / "a.txt"],
        "html": [folder / "c.html"],
        "pdf": [write_pdf(folder / "a.pdf", ["Foxes run.", "Dogs sleep."])],
        "image": [folder / f"a.{suffix}" for suffix in ("png", "jpg", "tiff")],
        "audio": [write_sound(folder / "a.flac", "flac", 1.0)],
        "video": [write_film(folder / "a.mp4", seconds=2.0, size=(64, 48))],
    }


@pytest.mark.parametrize("name", ["text", "html", "pdf", "image", "audio", "video"])
def test_ours_keep_the_contract(tmp_path: Path, name: str) -> None:
    check_kind(name, samples(tmp_path)[name], tmp_path)


def test_a_kind_of_another_package(tmp_path: Path, installed: Callable[..., None]) -> None:
    installed("points_kind:Points")
    file = write_points(tmp_path / "a.txt")
    check_kind("points", [file], tmp_path)
    config = IngestConfig(isolate=True)
    asset = identify(file, config)
    assert (asset.modality, asset.metadata["n_points"]) == ("points", 2)
    (segment,) = segments(asset, config)
    assert segment.content.dtype == np.float64
    assert segment.content.tolist() == [[1, 2, 3], [4, 5, 6.5]]
    assert registry.cost_of(".pts") == "image"


def test_names_of_formats_are_in_the_refusal(installed: Callable[..., None]) -> None:
    installed("points_kind:Points")
    with pytest.raises(UnsupportedMediaError, match="PTS"):
        kinds.sniff(bytes(100), "a.bin")


@pytest.mark.parametrize(
    ("target", "code", "reason"),
    [
        ("points_kind:Missing", POINTS, "AttributeError"),
        ("points_kind:Points", "import nothing_like_it", "ModuleNotFoundError"),
        ("points_kind:Path", POINTS, "is no kind of files"),
        ("points_kind:Points", POINTS.replace('"points"', '"pdf"'), "called pdf"),
    ],
)
def test_a_broken_package_is_named(
    installed: Callable[..., None], target: str, code: str, reason: str
) -> None:
    installed(target, code)
    with pytest.raises(KindError, match=reason):
        registry.kinds()


def test_a_kind_that_is_gone(tmp_path: Path, installed: Callable[..., None]) -> None:
    installed("points_kind:Points")
    asset = identify(write_points(tmp_path / "a.pts"), IngestConfig())
    registry.kinds.cache_clear()
    (tmp_path / "site" / "points_kind-1.0.dist-info" / "entry_points.txt").write_text("")
    with pytest.raises(UnsupportedMediaError, match="No kind of files reads 'model/pts'"):
        list(segments(asset, IngestConfig()))
