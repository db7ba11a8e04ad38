"""The packages of examples/plugins, installed from wheels: ingested, found, shown in the page."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from ingest import isolate
from ingest.kinds import registry
from ingest.testing import check_kind
from tests.browser.acts import hits, search, titles
from tests.browser.server import Server, serving
from tests.browser.watch import tab
from tests.support.plugin_files import PLUGINS, write_ecgs, write_points

# wfdb with pandas 3.1
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The inplace keyword")]

ASKED = {
    "points": {"a ring": "ring", "a chair": "chair", "a table": "table", "a tree": "tree"},
    "ecg": {
        "atrial fibrillation": "atrial fibrillation",
        "a slow heartbeat": "bradycardia",
        "flat line": "asystole",
    },
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with both packages, built as wheels and installed by pip."""
    wheels, site = (tmp_path_factory.mktemp(name) for name in ("wheels", "site"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    sources = [PLUGINS / "points", PLUGINS / "ecg"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, *sources], check=True)
    install = [*pip, "install", "--no-deps", "--no-index", "--target", site]
    subprocess.run([*install, *sorted(wheels.glob("*.whl"))], check=True)
    sys.path.insert(0, str(site))
    registry.kinds.cache_clear()
    isolate.close()
    yield site
    sys.path.remove(str(site))
    registry.kinds.cache_clear()
    isolate.close()


@pytest.fixture(scope="module")
def files(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """The files, by kind and by what they show."""
    assert site.is_dir()
    folder = tmp_path_factory.mktemp("recorded")
    made = {"points": write_points(folder), "ecg": write_ecgs(folder)}
    (folder / "note.txt").write_text("The gardener waters the roses.")
    return made


@pytest.mark.parametrize("kind", ["points", "ecg"])
def test_they_keep_the_contract(
    files: dict[str, dict[str, Path]], kind: str, tmp_path: Path
) -> None:
    check_kind(kind, list(files[kind].values()), tmp_path)


@pytest.fixture(scope="module")
def served(
    site: Path,
    files: dict[str, dict[str, Path]],
    bundle_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A server over the files."""
    assert bundle_home.is_dir()
    library = files["ecg"]["asystole"].parent
    data = tmp_path_factory.mktemp("plugins")
    with serving(data, library, PYTHONPATH=str(site)) as server:
        yield server


def asked(server: Server, **body: object) -> list[dict[str, object]]:
    answer = httpx.post(f"{server.url}/v1/search", json=body, timeout=60).raise_for_status()
    found: list[dict[str, object]] = answer.json()["hits"]
    return found


def test_they_are_found_by_words(served: Server, files: dict[str, dict[str, Path]]) -> None:
    for kind, questions in ASKED.items():
        for words, name in questions.items():
            first, *_ = asked(served, query=words, modalities=[kind])
            assert (first["name"], first["modality"]) == (files[kind][name].name, kind), words


@pytest.mark.parametrize("kind", ["points", "ecg"])
def test_they_are_shown(served: Server, chromium: Browser, kind: str) -> None:
    hit = asked(served, query="a ring", modalities=[kind])[0]
    shown = httpx.get(f"{served.url}{hit['thumbnail_url']}", timeout=60).raise_for_status()
    assert shown.headers["content-type"] == "image/webp"
    assert len(shown.content) > 500
    with tab(chromium, served) as page:
        search(page, "a ring")
        assert str(hit["title"]) in titles(page)
        expect(hits(page).first).to_be_visible()


@pytest.mark.parametrize(("kind", "name"), [("points", "ring"), ("ecg", "atrial fibrillation")])
def test_they_are_found_by_example(
    served: Server, files: dict[str, dict[str, Path]], kind: str, name: str, tmp_path: Path
) -> None:
    """By a different example of the same shape or rhythm, which is not stored."""
    write = {"points": write_points, "ecg": write_ecgs}[kind]
    example = base64.b64encode(write(tmp_path, seed=8)[name].read_bytes()).decode()
    first, *_ = asked(served, query=[{"kind": kind, "base64": example}], modalities=[kind])
    assert first["name"] == files[kind][name].name
