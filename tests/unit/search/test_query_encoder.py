"""Queries encoded in batches or from the cache, and none harmed by another's item."""

import resource
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event
from time import sleep, thread_time

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.space import Space
from encoder.system.batched import Batched
from encoder.system.metering import Meter, metered, running
from encoder.system.stopping import stopped_by
from encoder.types import DOCUMENT, IMAGE, QUERY, TEXT, Embeddings, Item, Modality
from search.errors import CancelledError, StoreUnavailableError
from search.query.query_encoder import QueryEncoder, content_digest

SPACE = Space(4, {"model": "letters"})


class Letters:
    """Encodes a text by its first letter; waits for ``gate``."""

    def __init__(self, space: Space = SPACE) -> None:
        self.space = space
        self.calls: list[list[str]] = []
        self.gate = Event()
        self.gate.set()
        self.begun = Event()

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        texts = [str(item.content) for item in items]
        self.calls.append(texts)
        self.begun.set()
        self.gate.wait()
        return np.array([[ord(text[0]), 0, 0, 0] for text in texts], np.float32)


def text(value: str, modality: Modality = TEXT) -> Item:
    return Item(modality, value)


def run_together(encoder: QueryEncoder, letters: Letters, words: list[str]) -> list[float]:
    """Hold up a first call until all others wait behind it."""
    letters.gate.clear()

    def encode(word: str) -> float:
        return float(encoder.encode_items([text(word)])[0, 0])

    with ThreadPoolExecutor(len(words) + 1) as pool:
        first = pool.submit(encode, "first")
        letters.begun.wait()
        others = [pool.submit(encode, word) for word in words]
        while encoder.n_waiting(text("")) < len(words):
            Event().wait(0.001)
        letters.gate.set()
        assert first.result() == ord("f")
        return [other.result() for other in others]


def test_those_who_wait_are_encoded_together() -> None:
    letters, sizes = Letters(), []
    encoder = QueryEncoder(letters, observe=lambda modality, n: sizes.append((modality, n)))
    assert run_together(encoder, letters, list("abcdefg")) == [ord(x) for x in "abcdefg"]
    assert sorted(map(len, letters.calls)) == [1, 7]
    assert sizes == [(TEXT, 1), (TEXT, 7)]


def test_modalities_do_not_wait_for_each_other() -> None:
    letters = Letters()
    encoder = QueryEncoder(letters)
    rows = encoder.encode_items([text("a"), text("b", IMAGE), text("c")])
    assert rows[:, 0].tolist() == [ord("a"), ord("b"), ord("c")]
    assert letters.calls == [["a", "c"], ["b"]]


def test_what_is_remembered_is_not_encoded_again() -> None:
    letters = Letters()
    encoder = QueryEncoder(letters, cache_bytes=10_000)
    encoder.encode_items([text("a")])
    rows = encoder.encode_items([text("a"), text("b")])
    assert rows[:, 0].tolist() == [ord("a"), ord("b")]
    assert letters.calls == [["a"], ["b"]]
    assert (encoder.cache.hits, encoder.cache.misses) == (1, 2)


ASYMMETRIC = replace(SPACE, asymmetric=frozenset({TEXT}))


@pytest.mark.parametrize("modality", [TEXT, IMAGE])
@pytest.mark.parametrize("space", [SPACE, ASYMMETRIC])
def test_roles_share_what_is_remembered_where_they_are_encoded_alike(
    space: Space, modality: Modality
) -> None:
    letters = Letters(space)
    encoder = QueryEncoder(letters, cache_bytes=10_000)
    for role in (QUERY, DOCUMENT, QUERY, DOCUMENT):
        encoder.encode_items([Item(modality, "a", role)])
    told_apart = modality in space.asymmetric
    assert len(letters.calls) == (2 if told_apart else 1)


@pytest.mark.parametrize("space", [SPACE, ASYMMETRIC])
def test_roles_share_a_batch_where_they_are_encoded_alike(space: Space) -> None:
    letters = Letters(space)
    encoder = QueryEncoder(letters)
    items = [Item(TEXT, "a", QUERY), Item(TEXT, "b", DOCUMENT), Item(TEXT, "c", QUERY)]
    rows = encoder.encode_items(items)
    assert rows[:, 0].tolist() == [ord("a"), ord("b"), ord("c")]
    assert letters.calls == ([["a", "c"], ["b"]] if space.asymmetric else [["a", "b", "c"]])


def test_memory_has_a_bound() -> None:
    letters = Letters()
    encoder = QueryEncoder(letters, cache_bytes=2000)
    for number in range(100):
        encoder.encode_items([text(f"{number}")])
    encoder.encode_items([text("99")])
    encoder.encode_items([text("0")])
    assert len(letters.calls) == 101
    nothing = QueryEncoder(letters, cache_bytes=0)
    nothing.encode_items([text("x")])
    assert nothing.cache.find("x") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ab", "ba"),
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)),
        (np.zeros(4, np.uint8), np.zeros(1, np.float32)),
        ("", np.zeros(0, np.uint8)),
    ],
)
def test_different_content_has_different_digests(one: object, other: object) -> None:
    assert content_digest(one) != content_digest(other)
    assert content_digest(one) == content_digest(one)


def test_no_short_text_waits_for_a_long_one() -> None:
    letters = Letters()
    encoder = QueryEncoder(letters)
    letters.gate.clear()
    with ThreadPoolExecutor(2) as threads:
        long = threads.submit(encoder.encode_items, [text("long " * 1000)])
        letters.begun.wait()
        short = threads.submit(encoder.encode_items, [text("short")])
        while len(letters.calls) < 2:  # it is encoded while the long one is held up
            assert not long.done()
            sleep(0.001)
        letters.gate.set()
        assert short.result()[0, 0] == ord("s")
        assert long.result()[0, 0] == ord("l")


def test_requests_with_long_texts_take_turns() -> None:
    letters = Letters()
    encoder = QueryEncoder(letters)
    letters.gate.clear()
    with ThreadPoolExecutor(2) as threads:
        many = threads.submit(encoder.encode_items, [text("many " * 300) for _ in range(6)])
        letters.begun.wait()
        few = threads.submit(encoder.encode_items, [text("few " * 300)])
        while not encoder.n_waiting(text("long " * 300)):
            sleep(0.001)
        letters.gate.set()
        many.result(), few.result()
    assert [call[0][:3] for call in letters.calls].index("few") == 1


class Network(Letters):
    """Works for the requests of a batch."""

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        rows = super().encode_items(items)
        with running(n_threads=2):
            ends_s = thread_time() + 0.02
            while thread_time() < ends_s:
                pass
        return rows


def test_what_networks_take_is_counted_for_the_requests_of_a_batch() -> None:
    network = Network()
    encoder = QueryEncoder(network)
    meters = [Meter(), Meter()]

    def encode(meter: Meter, word: str) -> None:
        with metered(meter):
            encoder.encode_items([text(word)])

    network.gate.clear()
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(encoder.encode_items, [text("first")])
        network.begun.wait()
        for meter in meters:
            threads.submit(encode, meter, "word")
        while encoder.n_waiting(text("word")) < 2:
            sleep(0.001)
        network.gate.set()
        first.result()
    assert [0.02 <= meter.cpu_s < 0.04 for meter in meters] == [True, True]


class Littering(Letters):
    """Frees 64 MB below something that it keeps, as decoding does."""

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        pieces = [b"x" * 64_000 for _ in range(1000)]
        self.kept = b"x" * 64_000
        del pieces
        return super().encode_items(items)


def test_memory_of_large_queries_is_given_back() -> None:
    encoder = QueryEncoder(Littering())
    before = own_bytes()
    encoder.encode_items([text("a")])
    held = own_bytes() - before
    encoder.encode_items([text("b", IMAGE)])
    assert own_bytes() - before < held - 50_000_000


def own_bytes() -> int:
    n_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return n_pages * resource.getpagesize()


class Doubler:
    """Doubles numbers when ``gate`` is open; ``refuse`` may raise."""

    def __init__(self, refuse: Callable[[Sequence[int]], None] = lambda _: None) -> None:
        self.calls: list[list[int]] = []
        self.gate, self.begun = Event(), Event()
        self._refuse = refuse

    def __call__(self, key: str, items: Sequence[int]) -> list[str]:
        self.calls.append(list(items))
        self.begun.set()
        self.gate.wait()
        self._refuse(items)
        return [f"{key}{2 * item}" for item in items]


def run_behind(
    doubler: Doubler, wanted: Sequence[Sequence[int]], max_items: int = 100
) -> list[object]:
    """Have these calls wait behind a first one, so that they are one batch."""
    batched: Batched[str, int, str] = Batched(doubler, max_items=lambda _: max_items)

    def run(items: Sequence[int]) -> object:
        try:
            return list(batched("k", items))
        except Exception as error:  # noqa: BLE001 - what is tested
            return error

    with ThreadPoolExecutor(len(wanted) + 1) as pool:
        first = pool.submit(run, [0])
        assert doubler.begun.wait(60)
        others = [pool.submit(run, items) for items in wanted]
        while batched.n_waiting("k") < len(wanted):
            Event().wait(0.001)
        doubler.gate.set()
        assert first.result() == ["k0"]
        return [other.result() for other in others]


def test_keys_are_apart() -> None:
    doubler = Doubler()
    doubler.gate.set()
    batched: Batched[str, int, str] = Batched(doubler, max_items=lambda _: 100)
    assert [*batched("a", [1]), *batched("b", [1])] == ["a2", "b2"]


def test_those_who_left_while_they_waited_cost_nothing() -> None:
    doubler = Doubler()
    batched: Batched[str, int, str] = Batched(doubler, max_items=lambda _: 100)

    def leave() -> None:
        if doubler.gate.is_set():
            raise CancelledError("gone")

    def run(item: int, check: Callable[[], None] | None) -> object:
        with stopped_by(check):
            return list(batched("k", [item]))

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(run, 0, leave)
        assert doubler.begun.wait(60)
        others = [pool.submit(run, item, check) for item, check in ((1, leave), (2, None))]
        while batched.n_waiting("k") < 2:
            Event().wait(0.001)
        doubler.gate.set()
        assert first.result() == ["k0"]
        with pytest.raises(CancelledError):
            others[0].result()
        assert others[1].result() == ["k4"]
    assert doubler.calls == [[0], [2]]


def refuse_three(error: Exception) -> Callable[[Sequence[int]], None]:
    def refuse(items: Sequence[int]) -> None:
        if 3 in items:
            raise error

    return refuse


@pytest.mark.parametrize("refused", [InputError("item", got="3", wanted="1"), ZeroDivisionError()])
def test_a_bad_item_harms_only_its_own_call(refused: Exception) -> None:
    doubler = Doubler(refuse_three(refused))
    assert run_behind(doubler, [[1], [3], [4]]) == [["k2"], refused, ["k8"]]


def test_a_store_that_is_away_is_asked_once_for_all() -> None:
    away = StoreUnavailableError("Away.")
    doubler = Doubler(refuse_three(away))
    assert run_behind(doubler, [[1], [3], [4]]) == [away] * 3
    assert len(doubler.calls) == 2


def test_a_batch_has_a_bound() -> None:
    doubler = Doubler()
    assert run_behind(doubler, [[n] for n in range(1, 8)], max_items=3) == [
        [f"k{2 * n}"] for n in range(1, 8)
    ]
    assert sorted(map(len, doubler.calls)) == [1, 1, 3, 3]


def test_a_call_larger_than_a_batch_is_not_divided() -> None:
    doubler = Doubler()
    assert run_behind(doubler, [[1, 2, 3]], max_items=2) == [["k2", "k4", "k6"]]
    assert doubler.calls == [[0], [1, 2, 3]]


def test_many_threads_all_get_their_own() -> None:
    doubler, start = Doubler(), Barrier(16)
    doubler.gate.set()
    batched: Batched[str, int, str] = Batched(doubler, max_items=lambda _: 8)

    def many(number: int) -> bool:
        start.wait(30)
        return all(list(batched("k", [number])) == [f"k{2 * number}"] for _ in range(50))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(many, range(16)))
    assert batched.n_waiting("k") == 0
