"""Thumbnails of deleted assets are swept while a server starts."""

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import pytest

from encoder.errors import AnymodalError
from search.api.responses.thumbnails import Thumbnails
from search.types import AssetRow
from workers.serving.composition import sweeping

GONE = "ab" * 16


@pytest.fixture
def thumbnails(tmp_path: Path) -> Thumbnails:
    (tmp_path / "ab" / GONE).mkdir(parents=True)
    return Thumbnails(tmp_path, 1000)


def test_a_start_does_not_wait_for_it(thumbnails: Thumbnails) -> None:
    asked, let = Event(), Event()

    def stored(asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        assert list(asset_ids) == [GONE]
        asked.set()
        assert let.wait(60)
        return {}

    with sweeping(thumbnails, stored):
        assert asked.wait(60)
        assert (thumbnails.folder / "ab" / GONE).exists()
        let.set()
    assert not (thumbnails.folder / "ab" / GONE).exists()


def test_a_store_that_is_away_does_no_harm(
    thumbnails: Thumbnails, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Event()

    def stored(_: Sequence[str]) -> dict[str, AssetRow]:
        asked.set()
        raise AnymodalError("The store is away.")

    with caplog.at_level(logging.WARNING), sweeping(thumbnails, stored):
        assert asked.wait(60)
    assert "stay until the next start: The store is away." in caplog.text
