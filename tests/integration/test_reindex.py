"""`anymodal store reindex`: a store moves to another model while it is searched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from encoder.config import EncoderConfig
from encoder.errors import InputError
from encoder.types import QUERY, TEXT, Item
from ingest import IngestConfig
from search.engine import SearchEngine
from search.errors import StoreMovedError
from search.query.query import Query
from search.store.stored_spaces import drop_former
from tests.contract.rows import stored_spaces
from tests.integration.conftest import Run
from tests.integration.test_serve import serving
from tests.support.waiting import wait_for
from workers.cli import anymodal as anymodal_command
from workers.config import Settings
from workers.library.check import checked
from workers.library.reindex import ReindexPlan, move
from workers.pipeline.commit_rows import remove
from workers.pipeline.ingest_pipeline import IngestPipeline
from workers.pipeline.reports import IngestReport
from workers.serving.resources import Resources

TEXTS = ["ferries to the islands", "an oven for bread", "repair of bicycles", "old maps of Rome"]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.txt").write_text(f"Notes on {text}.")
    return folder


def space_of(client: httpx.Client) -> str:
    return str(client.get("/v1/info").json()["space"]["fingerprint"])


def titles(found: dict[str, Any]) -> list[str]:
    return [hit["title"] for hit in found["hits"]]


class Load:
    """Clients that search all the time, each time for something that is in no cache."""

    def __init__(self, address: str, n_clients: int = 2) -> None:
        self.address, self.ended = address, Event()
        self.statuses, self.empty = Counter[int](), 0
        self.threads = [Thread(target=self._ask, args=(n,)) for n in range(n_clients)]

    def _ask(self, client_number: int) -> None:
        with httpx.Client(base_url=self.address, timeout=120) as client:
            for number in range(1_000_000):
                if self.ended.is_set():
                    return
                text = f"{TEXTS[number % len(TEXTS)]} {client_number} {number}"
                answer = client.post("/v1/search", json={"query": text})
                self.statuses[answer.status_code] += 1
                self.empty += answer.status_code == 200 and not answer.json()["hits"]
                self.ended.wait(0.05)  # the cores are shared with other tests

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.slow
def test_no_search_fails_while_a_served_store_moves_and_returns(
    here: Run, notes: Path, tmp_path: Path
) -> None:
    with serving(tmp_path, ANYMODAL_API__TIMEOUT_S="5") as (_, client):
        here("ingest", notes)
        old = space_of(client)
        with Load(str(client.base_url)) as load:
            found = here("store", "reindex", "--model", "bundle:english", "--precision", "none")
            assert (found["switched"], found["encoded"], found["failed"]) == (True, 4, [])
            assert found["comparison"]["overlap_at_10"] > 0.9
            wait_for(lambda: space_of(client) == found["space"])
            before = load.statuses.total()
            wait_for(lambda: load.statuses.total() > before + 20)
            late = [("file", ("late.txt", b"Tide tables of the harbour."))]
            job = client.post("/v1/assets", files=late).json()["job"]["id"]
            wait_for(lambda: client.get(f"/v1/jobs/{job}").json()["state"] == "done")
            assert "late" in titles(here("search", "tide tables"))
            back = here("store", "reindex", "--rollback")
            assert (back["switched"], back["space"], back["encoded"]) == (True, old, 1)
            wait_for(lambda: space_of(client) == old)
            before = load.statuses.total()
            wait_for(lambda: load.statuses.total() > before + 20)
            wait_for(lambda: "late" in titles(here("search", "tide tables")))
        assert load.statuses.keys() == {200}
        assert load.empty == 0


def opened(store_uri: str, **encoder: Any) -> Resources:
    """The resources of a process that decodes without child processes."""
    config = EncoderConfig(**{"model": "bundle:english", **encoder})
    ingest = IngestConfig(isolate=False)
    return Resources(Settings(store=store_uri, encoder=config, ingest=ingest))


@pytest.fixture
def held(store_uri: str, notes: Path, bundle_home: Path) -> Iterator[Resources]:
    """A store of the notes."""
    assert bundle_home
    with closing(opened(store_uri)) as held:
        report = held.pipeline().run([str(notes)], labels={"tags": ["mine"]})
        assert (report.ingested, report.failures) == (4, [])
        yield held


PLAN = ReindexPlan(
    model="bundle:english", precision="none", share=1.0, queries=["bread", "maps of Rome"]
)


def found(held: Resources, text: str) -> list[str]:
    engine = SearchEngine(*held.parts())
    try:
        hits = engine.search(Query([Item(TEXT, text, QUERY)])).hits
    finally:
        engine.close()
    assert all(hit.metadata["tags"] == ["mine"] for hit in hits)
    return [hit.title for hit in hits]


def test_what_cannot_be_encoded_again_keeps_the_old_model(held: Resources, notes: Path) -> None:
    (notes / "1.txt").write_text("Something else.")
    kept = move(held, PLAN)
    assert (kept.switched, kept.copied.n_encoded) == (False, 3)
    assert "1 assets could not be encoded" in kept.reason
    (failed,) = kept.copied.failures
    assert failed.uri.endswith("1.txt")
    assert "Ingest it again" in failed.reason
    current = held.current()
    assert current
    assert current.space == held.encoder().space.fingerprint
    assert found(held, "bread")[0] == "1"

    moved = move(held, replace(PLAN, leave_behind=True))  # goes on from there
    assert (moved.switched, moved.copied.n_known, moved.copied.n_encoded) == (True, 3, 0)
    assert found(held, "bread")[0] == "1"  # a process that has not followed can still search
    with pytest.raises(StoreMovedError, match="Try again"):
        held.store().delete(["0" * 32])
    held.follow()
    assert held.encoder().space.fingerprint == moved.space
    assert sorted(found(held, "maps of Rome")) == ["0", "2", "3"]
    again = move(held, PLAN)  # what is left behind still is, and all else stays as it is
    assert (again.switched, again.copied.n_known, again.copied.n_encoded) == (True, 3, 0)
    assert [failure.uri for failure in again.copied.failures] == [failed.uri]
    rows = {Path(row.locations[0]).name: row for row in held.store().scan()}
    assert rows.keys() == {"0.txt", "1.txt", "2.txt", "3.txt"}
    assert rows["1.txt"].metadata["tags"] == ["mine"]
    (notes / "1.txt").write_text(f"Notes on {TEXTS[1]}.")
    assert move(held, PLAN).copied.n_encoded == 1
    assert sorted(found(held, "maps of Rome")) == ["0", "1", "2", "3"]
    assert move(held, ReindexPlan(rollback=True)).switched


def test_a_moved_store_is_opened_with_its_own_model(held: Resources, store_uri: str) -> None:
    moved = move(held, PLAN)
    assert moved.switched
    held.close()
    for asked in ({}, {"quantization": "int8"}):  # by its former name, too
        with closing(opened(store_uri, **asked)) as later:
            assert later.encoder().space.fingerprint == moved.space
            assert found(later, "bread")[0] == "1"
    former = drop_former(store_uri)
    assert stored_spaces(store_uri) == {moved.space}
    assert former.keys() != {moved.space}
    with closing(opened(store_uri)) as later, pytest.raises(InputError, match="--rollback"):
        move(later, ReindexPlan(rollback=True))
    with pytest.raises(InputError, match="--drop-former"):
        drop_former(store_uri)


def test_a_store_follows_what_happens_meanwhile(held: Resources, notes: Path) -> None:
    half = move(held, replace(PLAN, switch=False))
    assert (half.switched, half.copied.n_encoded) == (False, 4)
    assert "--no-switch" in half.reason
    removed = held.store().assets_at([str(notes / "2.txt")])[str(notes / "2.txt")]
    held.store().delete([removed[0].asset_id])
    (notes / "4.txt").write_text("Notes on tides.")
    held.pipeline().run([str(notes / "4.txt")], labels={"tags": ["mine"]})
    moved = move(held, PLAN)
    assert (moved.copied.n_known, moved.copied.n_encoded) == (3, 1)
    held.follow()
    assert sorted(found(held, "tides")) == ["0", "1", "3", "4"]


@pytest.mark.parametrize("is_back", [False, True])
def test_changes_after_the_switch_stay(held: Resources, is_back: bool) -> None:
    """A client that follows at once, while the move is still at work."""
    if is_back:
        move(held, PLAN)
        held.follow()
    before = held.encoder().space.fingerprint
    rows = sorted(held.store().scan(), key=lambda row: row.locations)
    plan = ReindexPlan(rollback=True) if is_back else PLAN
    done = Event()

    def change() -> None:
        with closing(Resources(held.settings)) as client:
            wait_for(lambda: (now := client.current()) and now.space != before)
            store = client.store()
            assert client.encoder().space.fingerprint != before
            first, second, third, _ = rows
            store.write([replace(first, metadata={**first.metadata, "tags": ["late"]})], [])
            store.write([replace(second, locations=["/elsewhere.txt"])], [])
            store.delete([third.asset_id])
            done.set()

    client = Thread(target=change)
    client.start()
    assert move(held, plan).switched
    client.join()
    assert done.is_set()
    held.follow()
    first, second, _, fourth = rows
    stored = {row.asset_id: row for row in held.store().scan()}
    assert stored.keys() == {row.asset_id for row in (first, second, fourth)}
    assert stored[first.asset_id].metadata["tags"] == ["late"]
    assert stored[second.asset_id].locations == ["/elsewhere.txt"]


@pytest.mark.parametrize("change", ["deleted", "gone", "moved"])
def test_what_leaves_while_it_is_encoded_does_not_keep_the_old_model(
    held: Resources, notes: Path, change: str
) -> None:
    """Its file is away when it is encoded, and only then whoever took it says so."""
    away, path = notes.with_name("away.txt"), notes / "2.txt"
    path.rename(away)

    def happen(_done: int, _all: int) -> None:
        store = held.store()
        if change == "deleted":
            assert remove(store, str(path)) in (0, 1)
        elif change == "gone":
            held.pipeline().run([str(notes)])
        else:
            held.pipeline().run([str(away)])

    moved = move(held, PLAN, happen)
    assert (moved.switched, moved.copied.failures) == (True, [])
    held.follow()
    if change == "moved":
        assert sorted(found(held, "maps of Rome")) == ["0", "1", "2", "3"]
    assert held.store().count() == (3 if change == "deleted" else 4)
    assert not checked(held.store(), held.uploads, lambda *_: None)["differences"]


def test_what_is_deleted_and_stored_again_while_it_is_encoded_moves_too(
    held: Resources, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, ingest = notes / "2.txt", IngestPipeline.ingest

    def first(pipeline: IngestPipeline, *args: Any) -> IngestReport:
        monkeypatch.setattr(IngestPipeline, "ingest", ingest)
        remove(held.store(), str(path))
        report = ingest(pipeline, *args)
        held.pipeline().run([str(path)])
        return report

    monkeypatch.setattr(IngestPipeline, "ingest", first)
    moved = move(held, PLAN)
    assert (moved.switched, moved.copied.failures) == (True, [])
    held.follow()
    assert held.store().count() == 4
    assert not checked(held.store(), held.uploads, lambda *_: None)["differences"]


def test_a_stop_and_answers_that_differ_too_much_keep_the_old_model(held: Resources) -> None:
    stopped = move(held, PLAN, stopped=lambda: True)
    assert (stopped.switched, stopped.comparison) == (False, None)
    assert "run it again" in stopped.reason
    kept = move(held, replace(PLAN, least_overlap=1.01))
    assert not kept.switched
    assert "below --least-overlap" in kept.reason
    assert kept.comparison is not None
    assert kept.comparison["n_queries"] == 2


@pytest.mark.parametrize("words", [[], ["--model", "bundle:english", "--rollback"]])
def test_the_command_wants_one_thing_to_do(words: list[str]) -> None:
    ran = CliRunner().invoke(anymodal_command, ["store", "reindex", *words])
    assert ran.exit_code != 0
    assert isinstance(ran.exception, InputError)


def test_what_is_gone_keeps_its_tags_and_is_encoded_once_it_is_back(
    held: Resources, notes: Path
) -> None:
    """Also if it was marked when it had been copied."""
    away = notes.with_name("away")
    away.mkdir()
    (notes / "1.txt").rename(away / "1.txt")
    held.pipeline().run([str(notes)])
    half = move(held, replace(PLAN, switch=False))
    assert (half.copied.n_encoded, half.copied.n_gone) == (3, 1)
    (notes / "2.txt").rename(away / "2.txt")
    held.pipeline().run([str(notes)])
    moved = move(held, PLAN)
    assert (moved.switched, moved.copied.n_encoded, moved.copied.failures) == (True, 0, [])
    held.follow()
    assert sorted(found(held, "bread")) == ["0", "3"]
    gone = {row.locations[0]: row.n_segments for row in held.store().scan() if row.is_gone}
    assert gone == {str(notes / "1.txt"): 0, str(notes / "2.txt"): 1}
    for path in away.iterdir():
        path.rename(notes / path.name)
    report = held.pipeline().run([str(notes)])
    assert (report.ingested, report.failures) == (1, [])
    assert sorted(found(held, "bread")) == ["0", "1", "2", "3"]
    assert not checked(held.store(), held.uploads, lambda *_: None)["differences"]


def test_of_two_moves_one_is_faster(held: Resources) -> None:
    """The other changes nothing in what is searched since."""
    at_progress = Event()

    def overtake(_done: int, _all: int) -> None:
        if not at_progress.is_set():
            at_progress.set()
            with closing(Resources(held.settings)) as other:
                assert move(other, PLAN).switched
                other.follow()
                (row, *_) = other.store().scan()
                other.store().write([replace(row, metadata={"tags": ["since"]})], [])

    with pytest.raises(StoreMovedError):
        move(held, PLAN, overtake)
    held.follow()
    assert [row.metadata["tags"] for row in held.store().scan()].count(["since"]) == 1
