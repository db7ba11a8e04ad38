"""Snappy, of which the files of Pages, Numbers and Keynote are made."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ingest.kinds.iwork import _of_snappy, iwork_texts

_WORDS = b"The ferry leaves the harbour at nine, and the harbour is left by the ferry. "
_NOISE = np.random.default_rng(1).bytes(65_536)


@pytest.mark.parametrize(
    "data",
    [b"x", _WORDS, _WORDS * 800, bytes(65_536), b"ab" * 999, _NOISE, _NOISE[:61], _NOISE[:300] * 9],
    ids=["byte", "words", "many", "zeros", "run", "noise", "short", "far"],
)
def test_a_chunk_is_unpacked(data: bytes) -> None:
    assert _of_snappy(pa.compress(data, codec="snappy", asbytes=True)) == data


@pytest.mark.parametrize(
    ("chunk", "problem"),
    [
        (b"\xff\xff\xff\xff\x0fabc", "4,294,967,295 bytes"),
        (b"\x08\x1cabc", "3 bytes instead of 8"),
        (b"\x08\x00a\x01\x00", "0 bytes before"),
        (b"\x08\x00a\x01\x09", "9 bytes before"),
        (b"\x02\x00a\x0d\x01", "8 bytes instead of 2"),
        (b"\x01\x00ab", "a chunk of"),
        (b"\xff", "without an end"),
    ],
)
def test_a_damaged_chunk_is_refused(chunk: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        list(iwork_texts(b"\0" + len(chunk).to_bytes(3, "little") + chunk))
