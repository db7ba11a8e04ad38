import threading
from collections.abc import Iterator

from encoder.errors import CorruptMediaError
from encoder.types import TEXT
from ingest.types import Asset, Segment
from workers.pipeline.streams import decode_side_by_side


def asset(name: str) -> Asset:
    return Asset(name, f"/{name}", TEXT, "text/plain", 1)


def decode(asset: Asset) -> Iterator[Segment]:
    for index in range(5):
        if asset.asset_id == "bad" and index == 2:
            raise CorruptMediaError("broken")
        yield Segment(asset.asset_id, TEXT, index, "x")


def test_every_asset_ends_once_and_keeps_its_order() -> None:
    names = ["a", "bad", "b", "c"]
    assets = [asset(name) for name in names]
    batches = list(decode_side_by_side(assets, decode, threads=3, max_waiting=2))
    steps = [step for batch in batches for step in batch]
    assert max(map(len, batches)) <= 2

    ends = {s.asset.asset_id: s.error for s in steps if s.segment is None}
    assert set(ends) == set(names)
    assert isinstance(ends["bad"], CorruptMediaError)
    assert [s.segment.index for s in steps if s.segment and s.asset.asset_id == "b"] == [*range(5)]


def test_a_consumer_that_leaves_releases_the_threads() -> None:
    stream = decode_side_by_side([asset("a"), asset("b")], decode, threads=2, max_waiting=1)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_what_has_come_is_given_before_the_end_of_a_long_film() -> None:
    goes_on = threading.Event()

    def film(asset: Asset) -> Iterator[Segment]:
        for index in range(40):
            if index == 20:
                assert goes_on.wait(60)
            yield Segment(asset.asset_id, TEXT, index, "x")

    batches = decode_side_by_side([asset("a")], film, threads=1, max_waiting=64)
    first = next(batches)
    assert 16 <= len(first) <= 20
    goes_on.set()
    assert sum(map(len, batches)) == 41 - len(first)
