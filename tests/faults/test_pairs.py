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
    ("gone", "rewrite", "ingest_tagged"),
]


@pytest.fixture(scope="module")
def pairs(
    request: pytest.FixtureRequest, bundle_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pairs]:
    """On a store that two processes share, or in two threads of one process."""
    assert bundle_home.is_dir()
    folder = tmp_path_factory.mktemp("pairs").resolve()
    with actors_on(request.param, folder) as actors:
        yield Pairs(actors)


@pytest.mark.parametrize(
    ("pairs", "start", "one", "other"),
    [("up", *pair) for pair in PAIRS[::2]] + [("folder", *pair) for pair in PAIRS[1::2]],
    indirect=["pairs"],
)
def test_at_once_is_one_after_the_other(pairs: Pairs, start: str, one: str, other: str) -> None:
    for delay_s in (0.0, 0.02):
        assert pairs.trial(start, one, other, delay_s) == {}
