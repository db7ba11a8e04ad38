"""Thumbnails that several requests ask for at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from encoder.errors import CorruptMediaError
from search.api.responses.thumbnails import Thumbnails

ASSET = "ab" * 16


@pytest.mark.parametrize("size", [480, 64])
def test_what_is_being_made_is_not_made_a_second_time(tmp_path: Path, size: int) -> None:
    thumbnails = Thumbnails(tmp_path, 1000)
    begun, let = Event(), Event()
    made: list[bytes] = []

    def make() -> bytes:
        made.append(b"picture")
        begun.set()
        assert let.wait(60)
        return made[-1]

    with ThreadPoolExecutor() as pool:
        first = pool.submit(thumbnails.get, ASSET, 0.0, 1, size, make)
        assert begun.wait(60)
        others = [pool.submit(thumbnails.get, ASSET, 0.0, 1, size, make) for _ in range(3)]
        another = pool.submit(thumbnails.get, ASSET, 1.0, 1, size, lambda: b"another")
        assert another.result(60) == b"another"
        let.set()
        assert [one.result(60) for one in (first, *others)] == [b"picture"] * 4
    assert len(made) == 1


@pytest.mark.parametrize("size", [480, 64])
def test_a_late_request_finds_what_is_kept(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    thumbnails = Thumbnails(tmp_path, 1000)
    made_once = thumbnails._made_once

    def late(key: Any, make: Any) -> bytes:
        monkeypatch.setattr(thumbnails, "_made_once", made_once)
        assert thumbnails.get(ASSET, 0.0, 1, size, lambda: b"picture") == b"picture"
        return made_once(key, make)  # as a thread that has waited for its turn since it looked

    monkeypatch.setattr(thumbnails, "_made_once", late)
    assert thumbnails.get(ASSET, 0.0, 1, size, lambda: pytest.fail("again")) == b"picture"


def test_a_picture_that_failed_is_tried_again(tmp_path: Path) -> None:
    thumbnails = Thumbnails(tmp_path, 1000)

    def fail() -> bytes:
        raise CorruptMediaError("It is no picture.")

    with pytest.raises(CorruptMediaError, match="no picture"):
        thumbnails.get(ASSET, 0.0, 1, 480, fail)
    assert thumbnails.get(ASSET, 0.0, 1, 480, lambda: b"picture") == b"picture"
