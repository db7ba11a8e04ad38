"""An index of words that several processes write to, one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search.lexical import WordIndex
from search.lexical.index import IndexedText


class Failing:
    """A writer that holds the folder's lock, and cannot commit."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def commit(self) -> None:
        raise ValueError("An IO error occurred: No space left on device")


def test_a_commit_that_fails_leaves_the_folder_to_others(tmp_path: Path) -> None:
    def shared() -> WordIndex:
        return WordIndex(tmp_path)

    index, other = shared(), shared()
    index.add([IndexedText("a", "a", "herons")])
    index._kept = Failing(index._kept)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="IO error"):
        index.commit()
    other.add([IndexedText("b", "b", "herons")])
    other.commit()
    index.add([IndexedText("c", "c", "herons")])
    index.release()
    other.add([IndexedText("d", "d", "herons")])
    other.commit()
    assert {hit.segment_id for hit in other.find("herons", 9)} == {"b", "d"}
