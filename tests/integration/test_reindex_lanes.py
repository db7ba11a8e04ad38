"""`anymodal store reindex` of one lane: the others stay, and all are searched meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoder.types import IMAGE, QUERY, TEXT, Item, Modality
from search.query.query import Query, Term
from search.store.checking import Checkable
from search.store.locks import exclusive
from search.store.stored_spaces import drop_former
from tests.contract.rows import stored_spaces
from tests.integration.test_lanes import answered, files, names, opened
from tests.support import tiny_models as tiny
from workers.library.check import checked
from workers.library.reindex import Moved, ReindexPlan, move
from workers.pipeline.commit_rows import remove
from workers.serving.resources import Resources

__all__ = ["files"]
pytestmark = pytest.mark.slow

HOME = "bundle:multilingual"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, multilingual_home: Path) -> str:
    assert multilingual_home.is_dir()
    return f"dir:{tiny.save('clip', tmp_path_factory.mktemp('clip'))}"


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"dir:{tiny.save('siglip2', tmp_path_factory.mktemp('siglip'))}"


@pytest.fixture
def library(files: Path, tmp_path: Path) -> Path:
    """The files, which a test may change."""
    folder = tmp_path / "library"
    folder.mkdir()
    for file in files.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    photo(folder / "blue.png", "blue")
    return folder


def photo(path: Path, colour: str) -> None:
    Image.new("RGB", (64, 64), colour).save(path)


@contextmanager
def ingested(store: Path, model: str, library: Path) -> Iterator[Resources]:
    with opened(store, model) as resources:
        report = resources.pipeline().run([str(library)])
        assert report.failures == []
        yield resources


def moved_to(resources: Resources, model: str, **plan: object) -> Moved:
    moved = move(resources, replace(ReindexPlan(model=model, n_queries=2, share=1.0), **plan))
    resources.follow()
    return moved


def rolled_back(resources: Resources) -> Moved:
    moved = move(resources, ReindexPlan(rollback=True))
    resources.follow()
    return moved


def check_whole(resources: Resources, *expected: str) -> None:
    """All is found, each kind by a model of its own if it has one; and nothing is wrong."""
    store = resources.store()
    result = answered(resources, Query([Item(TEXT, "the ferry to Oslo", QUERY)], limit=50))
    assert {*names(result)} == {*expected}
    of_kinds = dict(store.sizes())
    assert of_kinds[IMAGE] == sum(name.endswith(".png") for name in expected)
    red = np.zeros((64, 64, 3), np.uint8)
    by_picture = answered(resources, Query([Item(IMAGE, red, QUERY)], modalities=(IMAGE,)))
    assert len(by_picture.hits) == of_kinds[IMAGE]
    proof = checked(store, resources.uploads, lambda _done, _all: None)
    assert proof["differences"] == []
    assert sum(row.n_segments for row in store.scan()) == sum(of_kinds.values())


def vector_of(resources: Resources, name: str, modality: Modality) -> np.ndarray:
    store = resources.store()
    (row,) = (r for r in store.scan() if Path(r.locations[0]).name == name)
    return next(x.embedding for x in store.embeddings(row.asset_id) if x.modality == modality)


ALL = ("scan.png", "red.png", "blue.png", "hiss.wav", "note.txt")


def test_one_lane_changes_and_the_others_stay(
    clip: str, siglip: str, library: Path, tmp_path: Path
) -> None:
    """Others write meanwhile."""
    store = tmp_path / "store"
    with ingested(store, f"{HOME},image={clip}", library) as resources:
        text, image = vector_of(resources, "note.txt", TEXT), vector_of(resources, "red.png", IMAGE)

        def meanwhile(_done: int, _all: int) -> None:
            if (library / "green.png").exists():
                return
            photo(library / "green.png", "green")
            with opened(store) as other:
                assert other.pipeline().run([str(library)]).ingested == 1
                remove(other.store(), str(library / "blue.png"))
                (library / "blue.png").unlink()
                at_red = [str(library / "red.png")]
                with exclusive(other.store(), (), at_red) as rows:
                    (row,) = rows[at_red[0]]
                    tagged = replace(row, metadata={**row.metadata, "tags": ["mine"]})
                    other.store().write([tagged], [])
                found = answered(other, Query([Item(TEXT, "bread", QUERY)]))
                assert {*names(found)} == {*ALL, "green.png"} - {"blue.png"}

        plan = ReindexPlan(model=f"{HOME},image={siglip}", n_queries=2, share=1.0)
        moved = move(resources, plan, meanwhile)
        assert (moved.switched, moved.copied.failures) == (True, [])
        assert resources.is_left_behind(resources.encoder())
    after = {*ALL, "green.png"} - {"blue.png"}
    with opened(store) as resources:
        assert resources.encoder().lane(IMAGE).model == siglip
        check_whole(resources, *after)
        np.testing.assert_array_equal(vector_of(resources, "note.txt", TEXT), text)
        assert not np.allclose(vector_of(resources, "red.png", IMAGE)[:8], image[:8])
        tags = {Path(r.locations[0]).name: r.metadata.get("tags") for r in resources.store().scan()}
        assert tags["red.png"] == ["mine"]
        (library / "red.png").rename(library / "moved.png")
        photo(library / "late.png", "white")
        resources.pipeline().run([str(library)])
        back = rolled_back(resources)
        assert (back.switched, back.copied.n_encoded) == (True, 1)
        after = after - {"red.png"} | {"moved.png", "late.png"}
        check_whole(resources, *after)
        np.testing.assert_array_equal(vector_of(resources, "moved.png", IMAGE), image)
    assert len(stored_spaces(str(store))) == 3
    drop_former(str(store))
    assert len(stored_spaces(str(store))) == 2
    with opened(store) as resources:
        check_whole(resources, *after)


def test_a_lane_is_added_and_dropped(clip: str, library: Path, tmp_path: Path) -> None:
    """What left the home store stays there for a way back, and is not searched."""
    store = tmp_path / "store"
    with ingested(store, HOME, library) as resources:
        image = vector_of(resources, "red.png", IMAGE)
        added = moved_to(resources, f"{HOME},image={clip}")
        assert (added.switched, added.copied.n_encoded) == (True, 3)
        check_whole(resources, *ALL)
        assert vector_of(resources, "red.png", IMAGE).shape != image.shape
        photo(library / "green.png", "green")
        resources.pipeline().run([str(library)])
        back = rolled_back(resources)
        assert (back.switched, back.copied.n_known, back.copied.n_encoded) == (True, 5, 1)
        check_whole(resources, *ALL, "green.png")
        np.testing.assert_array_equal(vector_of(resources, "red.png", IMAGE), image)
        assert rolled_back(resources).switched
        check_whole(resources, *ALL, "green.png")
    drop_former(str(store))
    with opened(store) as resources:
        store_now = resources.store()
        assert isinstance(store_now, Checkable)
        assert (store_now.lanes.home.fingerprint, IMAGE) not in store_now.stored_lanes()
        check_whole(resources, *ALL, "green.png")
        dropped = moved_to(resources, HOME)
        assert (dropped.switched, dropped.copied.n_encoded) == (True, 4)
        check_whole(resources, *ALL, "green.png")
        np.testing.assert_allclose(vector_of(resources, "red.png", IMAGE), image, atol=1e-5)


def test_a_lane_is_added_that_the_model_had_no_tower_for(
    clip: str, library: Path, tmp_path: Path
) -> None:
    """Photos without text were set aside; scans had their text alone."""
    texts = f"dir:{tiny.save('sentence', tmp_path / 'texts')}"
    with opened(tmp_path / "store", texts) as resources:
        resources.pipeline().run([str(library)])
        before = {Path(row.locations[0]).name for row in resources.store().scan()}
        assert before == {"scan.png", "note.txt"}
        added = moved_to(resources, f"{texts},image={clip}")
        assert (added.switched, added.copied.failures) == (True, [])
        check_whole(resources, "scan.png", "note.txt")
        resources.pipeline().run([str(library)])
        check_whole(resources, "scan.png", "note.txt", "red.png", "blue.png")


def test_what_cannot_be_read_again_keeps_the_lane_or_waits_for_an_ingest(
    clip: str, siglip: str, library: Path, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    with ingested(tmp_path / "store", f"{HOME},image={clip}", library) as resources:
        (library / "blue.png").rename(away / "blue.png")
        resources.pipeline().run([str(library)])  # it is gone, and known to be
        (library / "scan.png").rename(away / "scan.png")
        kept = moved_to(resources, f"{HOME},image={siglip}")
        assert not kept.switched
        assert "1 assets could not be encoded" in kept.reason
        moved = moved_to(resources, f"{HOME},image={siglip}", leave_behind=True)
        assert (moved.switched, moved.copied.n_known) == (True, 3)
        proof = checked(resources.store(), resources.uploads, lambda _done, _all: None)
        assert proof["differences"] == []
        result = answered(resources, Query([Item(TEXT, "the ferry to Oslo", QUERY)], limit=50))
        assert {*names(result)} == {"scan.png", "red.png", "hiss.wav", "note.txt"}
        for file in away.iterdir():
            file.rename(library / file.name)
        assert resources.pipeline().run([str(library)]).ingested == 2
        check_whole(resources, *ALL)


def test_a_lane_that_another_model_of_texts_keeps_is_not_encoded_again(
    clip: str, library: Path, tmp_path: Path
) -> None:
    (library / "hiss.wav").unlink()
    rest = {*ALL} - {"hiss.wav"}
    with ingested(tmp_path / "store", clip, library) as resources:
        store = resources.store()
        (row,) = (r for r in store.scan() if Path(r.locations[0]).name == "red.png")
        (segment,) = (x for x in store.embeddings(row.asset_id) if x.modality == IMAGE)
        mark = np.eye(len(segment.embedding), dtype=np.float32)[0]
        store.write([row], [replace(segment, embedding=mark)])
        moved = moved_to(resources, f"{HOME},image={clip}")
        assert (moved.switched, moved.copied.failures) == (True, [])
        check_whole(resources, *rest)
        np.testing.assert_allclose(vector_of(resources, "red.png", IMAGE), mark, atol=1e-4)
        photo(library / "green.png", "green")
        (library / "more.txt").write_text("More bread.")
        resources.pipeline().run([str(library)])
        back = rolled_back(resources)
        assert (back.switched, back.copied.failures) == (True, [])
        check_whole(resources, *rest, "green.png", "more.txt")
        np.testing.assert_allclose(vector_of(resources, "red.png", IMAGE), mark, atol=1e-4)
        assert {*names(answered(resources, Query([Term(asset_id=row.asset_id)])))} >= {"blue.png"}
