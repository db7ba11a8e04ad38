from collections.abc import Iterator

import pytest

from encoder.errors import MediaLimitError
from encoder.types import TEXT
from ingest import IngestConfig, Segment
from ingest.kinds import reading
from ingest.kinds.reading import Clock, timed


def test_time_is_what_it_plays_and_then_some() -> None:
    clock = Clock("a.mp4", IngestConfig(max_decode_s=10), plays_s=5)
    clock.spend(14)
    assert clock.left_s == 1
    clock.has_played(7)
    assert clock.left_s == 3
    with pytest.raises(
        MediaLimitError, match=r"a\.mp4 .* max_decode_s is 10 s, and it plays for 7 s"
    ):
        clock.spend(4)


def test_only_the_decoder_spends_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(reading, "perf_counter", lambda: now_s)

    def slow(seconds: float) -> Iterator[Segment]:
        nonlocal now_s
        for index in range(2):
            now_s += seconds
            yield Segment("a", TEXT, index, "x")

    config = IngestConfig(max_decode_s=10)
    for _ in timed(slow(0), Clock("a.txt", config)):
        now_s += 11
    with pytest.raises(MediaLimitError):
        list(timed(slow(6), Clock("a.txt", config)))
