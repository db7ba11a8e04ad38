import time
from collections.abc import Iterator

import pytest

from encoder.errors import MediaLimitError
from encoder.types import TEXT
from ingest import IngestConfig, Segment
from ingest.decode.time_limit import Clock, timed


def test_time_is_what_it_plays_and_then_some() -> None:
    clock = Clock("a.mp4", IngestConfig(max_decode_s=10), plays_s=5)
    clock.spend(14)
    assert clock.left_s == 1
    clock.has_played(7)
    assert clock.left_s == 3
    with pytest.raises(MediaLimitError, match=r"a\.mp4 .* max_decode_s is 10 s, and it plays 7 s"):
        clock.spend(4)


def test_only_the_decoder_spends_time() -> None:
    def slow(seconds: float) -> Iterator[Segment]:
        for index in range(2):
            time.sleep(seconds)
            yield Segment("a", TEXT, index, "x")

    config = IngestConfig(max_decode_s=0.05)
    for _ in timed(slow(0), Clock("a.txt", config)):
        time.sleep(0.06)
    with pytest.raises(MediaLimitError):
        list(timed(slow(0.06), Clock("a.txt", config)))
