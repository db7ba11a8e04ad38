"""Pairs of operations at once lead where they lead in order (`tests.faults.pairs` tries all)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.pairs import Pairs, actors_on

pytestmark = pytest.mark.slow


PAIRS = [
    ("new", "ingest", "ingest_copy"),
    ("new", "ingest", "move"),
    ("new", "upload_tagged", "delete"),
    ("new", "upload", "upload_tagged"),
    ("stored", "patch", "delete"),
    ("stored", "patch", "upload"),
    ("stored", "ingest_copy", "delete_folder"),
    ("stored", "ingest_copy", "edit"),
    ("stored", "import_export", "delete_folder"),
    ("stored", "adopt", "delete"),
    ("stored", "prune", "ingest"),
    ("stored", "reindex", "patch"),
    ("stored", "reindex", "edit"),
    ("gone", "recalibrate", "ingest_tagged"),
]


@pytest.fixture(scope="module", params=["folder", "threads"])
def pairs(
    request: pytest.FixtureRequest, bundle_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pairs, list[tuple[str, str, str]]]]:
    """On a store that two processes share, or in two threads of one process; and what to try."""
    assert bundle_home.is_dir()
    folder = tmp_path_factory.mktemp("pairs").resolve()
    with actors_on(request.param, folder) as actors:
        yield Pairs(actors), PAIRS[request.param == "threads" :: 2]


@pytest.mark.parametrize("turn", range(len(PAIRS) // 2))
def test_at_once_is_one_after_the_other(
    pairs: tuple[Pairs, list[tuple[str, str, str]]], turn: int
) -> None:
    tried, of_store = pairs
    delay_s = (0.0, 0.02)[turn % 2]
    assert tried.trial(*of_store[turn], delay_s) == {}, of_store[turn]
