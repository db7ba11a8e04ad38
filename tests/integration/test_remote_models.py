"""A store whose texts a server encodes: filled, searched, and safe from another model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from encoder.errors import ModelError, ModelUnavailableError
from encoder.system.environment import begin
from encoder.types import QUERY, TEXT, Item
from search import Query, SearchEngine
from tests.support import tiny_models as tiny
from tests.support.embedding_server import EmbeddingServer, embedding_server, refuse
from workers.cli import anymodal
from workers.config import current_settings
from workers.pipeline import retry
from workers.serving.resources import Resources

KEY = "sk-0123456789abcdef"


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as server:
        server.key = KEY
        yield server


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for n, words in enumerate(["warm bread and butter", "a boat on the sea", "rain in the garden"]):
        (folder / f"{n}.txt").write_text(f"{words}, said number {n}.")
    return folder


@pytest.fixture(autouse=True)
def settings(server: EmbeddingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "STORE": str(tmp_path / "store"),
        "DATA": str(tmp_path / "data"),
        "ENCODER__MODEL": server.spec,
        "ENCODER__KEYS": json.dumps({server.url: KEY}),
        "INGEST__ISOLATE": "false",
    }.items():
        monkeypatch.setenv(f"ANYMODAL_{name}", value)
    monkeypatch.setattr(retry, "delay_s", lambda *_: 0.0)


def run(*words: object) -> Any:
    done = CliRunner().invoke(anymodal, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def first(words: str) -> str:
    snippet: str = run("search", words, "--no-lexical")["hits"][0]["snippet"]
    return snippet


def test_it_is_filled_and_searched_and_holds_no_key(
    server: EmbeddingServer, notes: Path, tmp_path: Path
) -> None:
    assert run("ingest", notes)["ingested"] == 3
    for words in ("the boat", "bread", "rain in the garden"):
        assert words.split()[-1] in first(words)
    server.seed = 1
    with closing(Resources(current_settings())) as resources:
        for open_parts in (resources.existing_parts, resources.parts):
            with pytest.raises(ModelError, match="another model"):
                open_parts()
    server.seed = 0
    assert run("ingest", notes)["unchanged"] == 3
    assert "bread" in first("bread")
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_an_export_knows_the_model(server: EmbeddingServer, notes: Path, tmp_path: Path) -> None:
    run("ingest", notes)
    run("store", "export", tmp_path / "export")
    assert run("store", "import", tmp_path / "export", "--store", tmp_path / "new")["added"] == 3
    server.seed = 1
    with pytest.raises(ModelError, match="another model"):
        run("store", "import", tmp_path / "export", "--store", tmp_path / "other")


@pytest.fixture
def resources(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resources]:
    """On a store in memory."""
    monkeypatch.setenv("ANYMODAL_STORE", "memory:")
    begin({})
    with closing(Resources(current_settings())) as resources:
        yield resources


def test_a_server_that_is_away_is_waited_for(
    server: EmbeddingServer, notes: Path, resources: Resources
) -> None:
    pipeline = resources.pipeline()
    server.lies.extend([refuse(503, {"error": "loading"})] * 10)
    report = pipeline.run([str(notes)], on_wait=lambda _: True)
    assert (report.ingested, report.failures) == (3, [])


def test_a_text_that_the_server_refuses_harms_its_file_alone(
    server: EmbeddingServer, notes: Path, resources: Resources
) -> None:
    (notes / "poison.txt").write_text("poison")
    server.refused = "poison"
    report = resources.pipeline().run([str(notes)])
    assert report.ingested == 3
    assert [Path(failure.uri).name for failure in report.failures] == ["poison.txt"]
    assert "413: too much" in report.failures[0].reason


def test_a_model_that_changes_while_files_are_ingested_stores_nothing(
    server: EmbeddingServer, notes: Path, resources: Resources
) -> None:
    pipeline = resources.pipeline()
    server.seed = 1
    report = pipeline.run([str(notes)])
    assert (report.ingested, len(report.failures)) == (0, 3)
    assert "another model" in report.failures[0].reason
    assert not list(resources.store().scan())
    server.seed = 0
    assert pipeline.run([str(notes)]).ingested == 3


def test_a_lane_whose_server_is_away_costs_that_lane_alone(
    server: EmbeddingServer, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (64, 64), "red").save(notes / "red.png")
    photos = f"dir:{tiny.save('clip', tmp_path / 'clip')}"
    monkeypatch.setenv("ANYMODAL_ENCODER__MODEL", f"{server.spec},image={photos}")
    assert run("ingest", notes)["ingested"] == 4
    monkeypatch.delenv("ANYMODAL_ENCODER__MODEL")
    assert "bread" in first("bread")
    server.lies.extend([refuse(503, {"error": "away"})] * 500)
    answer = run("search", "bread", "--no-lexical")
    assert [Path(hit["uri"]).name for hit in answer["hits"]] == ["red.png"]
    assert any(server.spec in warning for warning in answer["warnings"])
    assert len(run("list")["assets"]) == 4
    assert run("store", "check")["differences"] == []
    assert run("delete", notes / "0.txt")["removed"] == {str(notes / "0.txt"): 1}
    with closing(Resources(current_settings())) as resources:
        engine = SearchEngine(resources.encoder().home, resources.existing_store())
        with closing(engine), pytest.raises(ModelUnavailableError, match="away"):
            engine.search(Query([Item(TEXT, "bread", QUERY)]))
    server.lies.clear()
    assert "boat" in first("boat")
