"""What holds while a store changes to other constants, and after."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import gt
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from encoder.errors import ModelError
from encoder.models.probes import written
from encoder.space import Calibration, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Embeddings, Modality
from search.errors import ReadOnlyStoreError, StoreError
from search.store.base import VectorStore
from search.store.calibrated import Constants, flat, is_raised, number_of
from search.store.locks import exclusive
from search.store.memory import MemoryStore
from search.store.milvus import calibration as milvus_calibration
from search.store.open import open_store
from tests.contract.conftest import ROOT, Opener
from tests.contract.rows import (
    CALIBRATION,
    DIM,
    SPACE,
    assert_same_answers,
    asset,
    corpus,
    names,
    record_of,
    segment,
    vectors,
)
from tests.integration.test_at_rest import read_only

pytestmark = pytest.mark.slow

MEASURED = {
    TEXT: Calibration(0.4, 0.05, share=0.8),
    IMAGE: Calibration(0.1, 0.2),
    AUDIO: Calibration(-0.3, 0.1),
}
RAISED = {TEXT: Calibration(0.2, 0.155), IMAGE: Calibration(-0.1, 2.0)}
WIDER = {TEXT: Calibration(0.2, 0.3), IMAGE: Calibration(-0.1, 2.5)}
OTHERS = {TEXT: Calibration(0.1, 0.3), AUDIO: Calibration(0.2, 0.02)}
KINDS = [TEXT, IMAGE, AUDIO]
ABOUT = {"source": "measured"}


class BrokenOffError(Exception):
    pass


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows at a time, and no pauses."""
    monkeypatch.setattr(milvus_calibration, "_PAUSE_S", 0.0)
    monkeypatch.setattr(milvus_calibration, "_PAUSE_ALONE_S", 0.0)
    monkeypatch.setattr(milvus_calibration, "_ROWS_PER_PAGE", 100)


def filled(store: VectorStore, n_assets: int = 90) -> VectorStore:
    """Fill a store with a corpus; return the oracle with new constants."""
    oracle = MemoryStore(DIM, MEASURED)
    for each in (store, oracle):
        each.write(*corpus(n_assets))
    return oracle


def mixed(store: VectorStore, query: Embeddings, by: Constants | None = None) -> list[str]:
    constants = store.scoring.reading if by is None else by
    return names(store.search_mixed(query, KINDS, 20, by=constants)[:20])


def broken_off(_n_done: int, _n_rows: int) -> None:
    raise BrokenOffError


def ignored(n_done: int, n_rows: int) -> None:
    assert 0 < n_done <= n_rows


def numbers(store: VectorStore) -> list[int]:
    """The numbers of the constants with which the rows were written, in the order of their keys."""
    record = record_of(store)
    record.catch_up()
    rows = record._rows.where(record._segments, "", ["segment_id", "calibration"])
    return [row["calibration"] for row in rows]


def test_a_store_ranks_by_the_constants_it_was_given(open_again: Opener) -> None:
    store = open_again()
    oracle = filled(store)
    assert store.stored_calibration().about == {"source": "shipped"}
    store.recalibrate(MEASURED, ABOUT)
    assert store.scoring.reading == MEASURED
    assert_same_answers(store, oracle)
    told: list[tuple[int, int]] = []
    assert store.rewrite(lambda *n: told.append(n)) == 270
    assert told == [(100, 270), (200, 270), (270, 270)]
    assert_same_answers(store, oracle)
    assert numbers(store) == [number_of(MEASURED)] * 270
    assert store.rewrite(ignored) == 0
    again = open_again()
    assert again.stored_calibration().about == ABOUT
    assert again.scoring.reading == MEASURED
    assert_same_answers(again, oracle)
    np.testing.assert_allclose(
        [row.embedding for row in again.embeddings("asset0-1")],
        [row.embedding for row in oracle.embeddings("asset0-1")],
        atol=1e-6,
    )


@pytest.mark.parametrize("reading", [MEASURED, RAISED, WIDER])
def test_constants_for_reading_rank_and_change_no_row(
    open_again: Opener, reading: dict[Modality, Calibration]
) -> None:
    store = open_again()
    oracle = filled(store)
    for each in (store, oracle):
        each.recalibrate(CALIBRATION, {**ABOUT, "reading": flat(reading)})
    assert store.scoring.reading == oracle.scoring.reading == {**CALIBRATION, **reading}
    assert all(
        is_raised(store.scoring.reading[modality], by) for modality, by in CALIBRATION.items()
    ) == (reading is not MEASURED)
    assert_same_answers(store, oracle)
    assert store.rewrite(ignored) == 0
    assert numbers(store) == [number_of(CALIBRATION)] * 270
    again = open_again()
    assert again.scoring.reading == {**CALIBRATION, **reading}
    assert_same_answers(again, oracle)


def test_half_a_rewrite_ranks_as_a_whole_one_and_goes_on_later(open_again: Opener) -> None:
    store = open_again()
    oracle = filled(store)
    store.recalibrate(MEASURED, ABOUT)
    with pytest.raises(BrokenOffError):
        store.rewrite(broken_off)
    assert sorted(map(numbers(store).count, map(number_of, (MEASURED, CALIBRATION)))) == [100, 170]
    assert_same_answers(store, oracle)
    again = open_again()
    assert_same_answers(again, oracle)
    again.recalibrate(OTHERS, ABOUT)  # as a new measurement does
    with pytest.raises(BrokenOffError):
        again.rewrite(broken_off)
    oracle.recalibrate(OTHERS, ABOUT)
    assert_same_answers(again, oracle)
    assert again.rewrite(ignored) == 170
    assert numbers(again) == [number_of(OTHERS)] * 270
    assert_same_answers(again, oracle)


def test_half_a_rewrite_is_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    where = tmp_path / "store"
    store = open_store(str(where), SPACE, DIM, calibration=CALIBRATION)
    oracle = filled(store)
    store.recalibrate(MEASURED, ABOUT)
    with pytest.raises(BrokenOffError):
        store.rewrite(broken_off)
    store.close()
    with read_only(where):
        store = open_store(str(where), SPACE, DIM)
        assert store.read_only
        assert len(store.stored_calibration().former) == 1
        assert_same_answers(store, oracle)
        for change in (lambda: store.recalibrate(OTHERS, ABOUT), lambda: store.rewrite(ignored)):
            with pytest.raises(ReadOnlyStoreError):
                change()
        store.close()


@pytest.mark.slow
def test_searches_go_on_while_rows_are_rewritten(
    open_again: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_calibration, "_PAUSE_S", 0.3)
    monkeypatch.setattr(milvus_calibration, "_PAUSE_ALONE_S", 0.3)
    monkeypatch.setattr(milvus_calibration, "REFRESH_S", 0.2)
    store = open_again()
    oracles = [MemoryStore(DIM, CALIBRATION), filled(store)]
    oracles[0].write(*corpus(90))
    searcher = open_again.beside()
    queries = l2_normalize(vectors(4, seed=5))
    wanted = [[mixed(one, q) for one in oracles] for q in queries]
    ended, n_searches = Event(), [0, 0]

    def search(place: int) -> None:
        while not ended.is_set():
            for query, rankings in zip(queries, wanted, strict=True):
                assert mixed(searcher, query) in rankings
                alone = names(searcher.search(query[None], IMAGE, 30)[0])
                assert alone == names(oracles[0].search(query[None], IMAGE, 30)[0])
                n_searches[place] += 1

    def sleep(seconds: float) -> None:
        """Sleep, then wait until each thread has finished its pending search and another one."""
        time.sleep(seconds)
        enough = [n + 2 for n in n_searches]
        while any(map(gt, enough, n_searches)) and not any(one.done() for one in searches):
            time.sleep(0.005)

    slow = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
    monkeypatch.setattr(milvus_calibration, "time", slow)
    with ThreadPoolExecutor(2) as threads:
        searches = [threads.submit(search, place) for place in range(2)]
        for constants in (MEASURED, CALIBRATION):
            store.recalibrate(constants, ABOUT)
            assert store.rewrite(ignored) == 270
        ended.set()
        for one in searches:
            one.result(60)
    assert min(n_searches) >= 8
    assert_same_answers(store, oracles[0])


def test_who_knows_only_the_old_constants_neither_writes_nor_finds_wrongly(
    open_again: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_calibration, "REFRESH_S", 3600.0)
    store = open_again()
    oracle = filled(store)
    other = open_again.beside()
    assert other.scoring.reading == CALIBRATION
    store.recalibrate(MEASURED, ABOUT)
    store.rewrite(ignored)
    other.catch_up()
    query = l2_normalize(vectors(1, seed=7))[0]
    assert mixed(other, query, MEASURED) == mixed(oracle, query, MEASURED)
    assert other.scoring.reading == MEASURED
    more = corpus(4, seed=3)
    late = open_again.beside()
    late.recalibrate(OTHERS, ABOUT)  # which `other` does not know about
    for one in (other, oracle):
        one.write(*more)
    assert numbers(other).count(number_of(OTHERS)) == 12
    late.rewrite(ignored)
    oracle.recalibrate(OTHERS, ABOUT)
    assert_same_answers(late, oracle)


def test_what_is_deleted_meanwhile_stays_deleted(
    open_again: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_again()
    oracle = filled(store)
    record = record_of(store)
    upsert = record._rows.upsert
    deleters: list[Thread] = []
    deleted = next(oracle.select(None))

    def delete() -> None:
        with exclusive(store, [deleted]):
            store.delete([deleted])
        oracle.delete([deleted])

    def delete_first(kind: Any, rows: Sequence[dict[str, Any]], **options: str) -> None:
        if not deleters:
            deleters.append(Thread(target=delete))
            deleters[0].start()
            deleters[0].join(0.5)  # it ends now unless it waits for its lock
        upsert(kind, rows, **options)

    monkeypatch.setattr(record._rows, "upsert", delete_first)
    store.recalibrate(MEASURED, ABOUT)
    store.rewrite(ignored)
    deleters[0].join()
    assert store.embeddings(deleted) == []
    assert numbers(store) == [number_of(MEASURED)] * 267
    assert_same_answers(store, oracle)


def test_of_two_calibrations_the_later_one_stands(open_again: Opener) -> None:
    store = open_again()
    oracle = filled(store)
    other = open_again.beside()
    store.recalibrate(MEASURED, ABOUT)
    with pytest.raises(StoreError, match="Another calibration"):
        store.rewrite(lambda *_: other.recalibrate(OTHERS, ABOUT))
    other.rewrite(ignored)
    oracle.recalibrate(OTHERS, ABOUT)
    assert numbers(other) == [number_of(OTHERS)] * 270
    assert_same_answers(other, oracle)


def test_two_processes_may_do_the_same_rewrite(open_again: Opener) -> None:
    store = open_again()
    oracle = filled(store)
    other = open_again.beside()
    store.recalibrate(MEASURED, ABOUT)
    done: list[int] = []

    def other_does_the_rest(_n_done: int, _n_rows: int) -> None:
        if not done:
            done.append(other.rewrite(ignored))

    assert store.rewrite(other_does_the_rest) == 100
    assert done == [170]
    assert numbers(store) == [number_of(MEASURED)] * 270
    assert store.stored_calibration().former == ()
    assert_same_answers(store, oracle)


def test_the_same_constants_again_change_only_their_description(open_again: Opener) -> None:
    store = open_again()
    filled(store, 3)
    store.recalibrate(CALIBRATION, {"source": "measured", "measured_at": "today"})
    assert store.rewrite(ignored) == 0
    assert store.stored_calibration().about["measured_at"] == "today"


def test_a_store_refuses_the_probes_of_another_model(open_again: Opener) -> None:
    rows = vectors(4)
    store = open_again(probes=written(rows))
    filled(store, 3)
    store.recalibrate(MEASURED, {"source": "measured"})
    store.rewrite(ignored)
    near = l2_normalize(rows + 0.01 * vectors(4, seed=1))
    assert open_again(probes=written(near)).count() == 3
    for other in (written(vectors(4, seed=1)), written(rows[::-1]), written(rows)[:3]):
        with pytest.raises(ModelError, match="another model"):
            open_again(probes=other)
    store = open_again()
    assert store.count() == 3
    assert store.stored_calibration().about["source"] == "measured"


def test_a_sample_is_evenly_drawn(store: VectorStore) -> None:
    assert store.sizes() == {}
    assert store.sample(TEXT, 10).shape == (0, 1, DIM)
    rows = [segment(f"a{n}", 0, vector, IMAGE) for n, vector in enumerate(vectors(400))]
    store.write([asset("a", "/a")], [*rows, segment("t", 0, vectors(1)[0], TEXT)])
    assert store.sizes() == {IMAGE: 400, TEXT: 1}
    everything = l2_normalize(vectors(400))
    few = store.sample(IMAGE, 160)[:, 0]
    assert 120 <= len(few) <= 160
    places = (few @ everything.T).argmax(axis=1)
    np.testing.assert_allclose(few, everything[places], atol=1e-6)
    assert len(set(places)) == len(few)
    assert 0.3 < (places < 200).mean() < 0.7
    assert len(store.sample(IMAGE, 16_000)) == 400
    assert store.sample(TEXT, 100).shape == (1, 1, DIM)
    assert store.sample(VIDEO, 100).shape == (0, 1, DIM)


_KILLED = """
import os, signal, sys
from search.store.milvus import calibration as milvus_calibration
from search.store.open import open_store
from encoder.space import Calibration
from encoder.types import Modality
milvus_calibration._ROWS_PER_PAGE = 100
milvus_calibration._PAUSE_S = 0.1
from tests.contract.rows import record_of
store = open_store(sys.argv[1], sys.argv[2], int(sys.argv[3]), prefix=sys.argv[4])
record = record_of(store)
pages = [0]
upsert = record._rows.upsert
def killed(kind, rows, **options):
    upsert(kind, rows[:len(rows) // 2], **options)
    pages[0] += 1
    if pages[0] > 3:
        os.kill(os.getpid(), signal.SIGKILL)
    upsert(kind, rows[len(rows) // 2:], **options)
record._rows.upsert = killed
measured = {"text": (0.4, 0.05, (), 0.8), "image": (0.1, 0.2), "audio": (-0.3, 0.1)}
constants = {Modality(kind): Calibration(*one) for kind, one in measured.items()}
store.recalibrate(constants, {"source": "measured"})
store.rewrite(lambda *_: None)
"""


def test_a_rewrite_that_was_killed_goes_on(open_again: Opener) -> None:
    oracle = filled(open_again())
    open_again.close()
    words = [sys.executable, "-c", _KILLED, open_again.uri, SPACE, str(DIM), open_again.prefix]
    assert subprocess.run(words, cwd=ROOT, timeout=120).returncode == -signal.SIGKILL
    store = open_again()
    written = numbers(store)
    assert 0 < written.count(number_of(MEASURED)) < 270
    assert len(written) == 270
    assert_same_answers(store, oracle)
    assert 0 < store.rewrite(ignored) < 270
    assert numbers(store) == [number_of(MEASURED)] * 270
    assert_same_answers(store, oracle)
    assert store.stored_calibration().former == ()
