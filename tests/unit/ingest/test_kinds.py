"""The contract of kinds: ours keep it, and so does one of another package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from encoder.errors import CorruptMediaError, MediaError, UnsupportedMediaError
from ingest import IngestConfig, Place, identify, segments, whole
from ingest import language as detection
from ingest import picture as picture_of
from ingest.errors import KindError
from ingest.kinds import registry
from ingest.language import language_of
from ingest.testing import check_kind
from tests.support import points_package
from tests.support.points_package import KIND, forget, write_points


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Installs a package of one module, ``points_kind``, as pip lays it out."""
    site = tmp_path / "site"
    with ExitStack() as stack:

        def install(target: str = points_package.POINTS, code: str = KIND) -> None:
            points_package.install(site, target, code)
            stack.enter_context(points_package.importable(site))

        yield install


@pytest.mark.slow
def test_a_kind_of_another_package(tmp_path: Path, installed: Callable[..., None]) -> None:
    installed("points_kind:Points")
    file = write_points(tmp_path / "a.txt")
    check_kind("points", [file], tmp_path)
    config = IngestConfig(isolate=True)
    asset = identify(file, config)
    assert (asset.modality, asset.metadata["n_points"]) == ("points", 16)
    (segment,) = segments(asset, config)
    assert segment.content.dtype == np.float64
    assert segment.content[:2].tolist() == [[0, 0, 0], [0, 0, 1]]
    assert registry.cost_of(".pts") == "image"


@pytest.mark.parametrize(
    ("target", "code", "reason"),
    [
        ("points_kind:Missing", KIND, "AttributeError"),
        ("points_kind:Points", "import nothing_like_it", "ModuleNotFoundError"),
        ("points_kind:Path", KIND, "is not a kind of files"),
        ("points_kind:Points", KIND.replace('"points"', '"pdf"'), "called pdf"),
        (
            "points_kind:Points",
            KIND.replace('name = "points"', 'name = "Point cloud"'),
            "a-z|lower",
        ),
        ("points_kind:Points", KIND.replace("shows =", 'icon = "<svg>"; shows ='), "not a path"),
        ("points_kind:Points", KIND.replace('formats = ("PTS",)', ""), "has no formats"),
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
    (tmp_path / "site" / "points_kind-1.0.dist-info" / "entry_points.txt").write_text("")
    forget()
    with pytest.raises(UnsupportedMediaError, match="No kind of files reads 'model/pts'"):
        list(segments(asset, IngestConfig()))


def test_a_file_as_one_query(tmp_path: Path, installed: Callable[..., None]) -> None:
    installed()
    file = write_points(tmp_path / "a.pts")
    item = whole(identify(file, IngestConfig()), IngestConfig())
    assert (item.modality, item.content.shape) == ("points", (16, 3))
    note = tmp_path / "note.txt"
    note.write_text("points of view")
    assert identify(note, IngestConfig(), "text").media_type == "text/plain"
    with pytest.raises(UnsupportedMediaError, match="not of the kind pdf, but looks like points"):
        identify(note, IngestConfig(), "pdf")


@pytest.mark.parametrize("isolate_", [False, True])
def test_a_kind_that_raises_or_shows_what_it_likes(
    tmp_path: Path, installed: Callable[..., None], isolate_: bool
) -> None:
    wrong = KIND.replace("return segments[0].content", "raise KeyError(7)")
    installed(code=wrong.replace("np.full((64, 64, 3), 255, np.uint8)", "np.zeros((64, 64, 3))"))
    config = IngestConfig(isolate=isolate_)
    asset = identify(write_points(tmp_path / "a.pts"), config)
    with pytest.raises(CorruptMediaError, match="cannot be searched with"):
        whole(asset, config)
    with pytest.raises(MediaError, match=r"not a picture"):
        picture_of(asset, Place(), config)


@pytest.mark.parametrize(
    ("suffix", "cost"),
    [
        *((".jpg", "image"), (".mkv", "video"), (".wma", "audio"), (".amr", "audio")),
        *((".pts", "image"), (".docx", "text"), ("", "text"), (".no-such", "text")),
    ],
)
def test_the_queue_is_that_of_the_kind(
    installed: Callable[..., None], suffix: str, cost: str
) -> None:
    installed()
    assert registry.cost_of(suffix) == cost


GERMAN = "Die Kinder bauen eine Burg aus Sand, und der Hund schaut zu."


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "The children are building a castle out of sand on the beach."),
        ("de", "Die Kinder bauen eine Burg aus Sand, und der Hund schaut zu."),
        ("fr", "Les enfants construisent un château de sable sur la plage."),
        ("es", "Los niños construyen un castillo de arena y el perro los mira."),
        ("it", "I bambini costruiscono un castello di sabbia sulla spiaggia."),
        ("pt", "As crianças constroem um castelo de areia na praia."),
        ("pl", "Dzieci budują zamek z piasku na plaży."),
        ("ru", "Поезд отправляется в девять часов утра."),
        ("tr", "Çocuklar sahilde kumdan kale yapıyor."),
        ("ja", "子供たちは砂浜で城を作っています。"),
    ],
)
def test_a_sentence_is_enough(language: str, text: str) -> None:
    assert language_of(text) == language
    assert language_of(text * 500) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "Foxes run.",
        "2024-01-01 12:30 14:45 " * 20,
        "import os\nfor x in range(10):\n    print(x)\n",
        "xq zzt kkkj fwm qpl " * 4,
    ],
)
def test_nothing_is_guessed(text: str) -> None:
    assert language_of(text) == ""


@pytest.fixture
def unread() -> Iterator[None]:
    """As in a new process."""
    detection._identifier.cache_clear()
    yield
    detection._identifier.cache_clear()


@pytest.mark.moderate
@pytest.mark.usefixtures("unread")
def test_the_package_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))
    assert language_of(GERMAN) == "de"
    detection._identifier.cache_clear()
    monkeypatch.delattr("py3langid.langid.LanguageIdentifier.from_model_file")
    assert language_of(GERMAN) == "de"
    assert language_of("12:30 " * 40) == ""


@pytest.mark.moderate
@pytest.mark.usefixtures("unread")
def test_a_damaged_cache_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))
    (tmp_path / "language" / version("py3langid")).mkdir(parents=True)
    (tmp_path / "language" / version("py3langid") / "nb_pc.npy").write_bytes(b"")
    assert language_of(GERMAN) == "de"


@pytest.mark.moderate
@pytest.mark.usefixtures("unread")
def test_a_cache_that_takes_nothing_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "file"))
    assert language_of(GERMAN) == "de"
