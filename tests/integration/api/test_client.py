"""Our own client over HTTP."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx
import numpy as np
import pytest

from encoder.errors import AnymodalError
from search.api.access.keys import KeyRing
from search.client import (
    AccessError,
    Anymodal,
    AsyncAnymodal,
    BadRequestError,
    BusyError,
    MissingError,
    UnreachableError,
)
from search.client.calls import whole_passage
from search.errors import NotFoundError


@pytest.fixture(scope="module")
def ours(client: httpx.Client) -> Iterator[Anymodal]:
    with Anymodal(str(client.base_url)) as made:
        yield made


def test_finds_by_text_and_by_files(ours: Anymodal, folder: Path) -> None:
    assert ours.search("baking bread", limit=1).hits[0].name == "bread.txt"
    by_path = ours.search(image=folder / "sky.jpg", modalities=["image"], limit=1)
    by_bytes = ours.search(image=(folder / "sky.jpg").read_bytes(), modalities=["image"], limit=1)
    both = ours.search("a tone", audio=[folder / "tone.wav"], modalities=["audio"], limit=1)

    assert [found.hits[0].name for found in (by_path, by_bytes)] == ["sky.jpg"] * 2
    assert both.hits[0].name == "tone.wav"
    weights = {"rocket": 3.0, "bread": 0.1}
    terms = [{"text": f"{word} words", "weight": weight} for word, weight in weights.items()]
    files = [
        {"file": folder / "page.html", "weight": 0.1},
        {"image": (folder / "sky.jpg").read_bytes(), "weight": 0.01},
    ]
    texts = ours.search(terms=[*terms, *files], modalities=["text"], limit=2, lexical=False)
    assert [hit.name for hit in texts.hits] == ["page.html", "bread.txt"]
    terms[0]["weight"], terms[1]["weight"] = 0.1, 3.0
    pages = ours.hits(terms=terms, modalities=["text"], limit=1, lexical=False)
    assert [hit.name for hit in pages] == ["bread.txt", "page.html"]
    asset_id = by_path.hits[0].asset_id
    assert asset_id not in {hit.asset_id for hit in ours.similar(asset_id, limit=2).hits}


def test_a_passage_is_whole_where_the_file_is_text(ours: Anymodal, tmp_path: Path) -> None:
    note = tmp_path / "long.txt"
    note.write_text("\ufeff" + "The lighthouse keeper counts ships at night. " * 9)
    job = ours.wait(ours.upload([note]).id)
    (page,) = ours.search("a rocket in orbit", limit=1).hits
    (found,) = ours.search("lighthouse keeper", limit=1).hits

    assert ours.passage(found).count("lighthouse") == 9 > found.snippet.count("lighthouse")
    assert (page.name, ours.passage(page)) == ("page.html", "A rocket in orbit.")
    assert whole_passage(found, "something else") == found.snippet
    ours.delete(*job.asset_ids)


def test_tags_come_and_go(ours: Anymodal) -> None:
    tagged = {"field": "tags", "contains": "kitchen"}
    bread = next(one for one in ours.assets() if one.name == "bread.txt")
    title = ours.tag(bread.asset_id, add=["kitchen", "oven", "kitchen"]).title
    assert [hit.name for hit in ours.search("anything", filter=tagged).hits] == ["bread.txt"]

    changed = ours.tag(bread.asset_id, add=["dough"], remove=["kitchen", "never there"])

    assert (changed.title, changed.tags) == (title, ["oven", "dough"])
    assert list(ours.assets(tagged)) == []
    assert ours.search("Knead the dough", limit=1).hits[0].name == "bread.txt"
    ours.tag(bread.asset_id, remove=["oven", "dough"])
    with pytest.raises(BadRequestError, match="add_tags"):
        ours.tag(bread.asset_id, add=[""])
    with pytest.raises(MissingError):
        ours.tag("0" * 32, add=["kitchen"])


def test_a_notebook_shows_pictures_and_words(ours: Anymodal) -> None:
    """A picture as WebP, a text by its words, and names that are escaped."""
    shown = ours.show(ours.search("bread", limit=10))
    kinds = {hit.name: picture for hit, picture in zip(shown.hits, shown.pictures, strict=True)}
    assert (kinds["sky.jpg"] or b"")[8:12] == b"WEBP"
    assert kinds["bread.txt"] is None
    shown.hits[0].name = "<b>"
    html = shown._repr_html_()
    assert html.count("<img") == sum(picture is not None for picture in shown.pictures)
    assert "Knead the dough" in html
    assert "<b>&lt;b&gt;</b>" in html


def test_pages_follow_each_other(ours: Anymodal) -> None:
    names = [hit.name for hit in ours.hits("bread", limit=1)]

    assert sorted(names) == ["bread.txt", "page.html", "sky.jpg", "tone.wav"]
    assert sorted(one.name for one in ours.assets()) == sorted(names)
    in_order = list(ours.hits("bread", limit=1, sort="-name", score_threshold=-99))
    strong = [hit.name for hit in in_order if not hit.weak]
    assert strong == sorted(strong, reverse=True)
    assert sorted(hit.name for hit in in_order) == sorted(names)
    assert ours.search("bread", limit=1, count=True).total == len(strong) > 0
    texts = ours.assets({"field": "modality", "eq": "text"})
    assert sorted(one.name for one in texts) == ["bread.txt", "page.html"]


def test_files_go_up_and_come_down(ours: Anymodal, tmp_path: Path) -> None:
    note, sent = tmp_path / "note.txt", []
    note.write_text("A heron stands in the reeds." + " " * 145_000)  # large, but quickly ingested

    job = ours.upload(note, tags="birds", on_progress=lambda *numbers: sent.append(numbers))
    done = ours.wait(job.id)
    (asset_id,) = done.asset_ids

    size = note.stat().st_size
    assert sent[-1] == (size, size)
    assert len(sent) > 1
    assert done.ingested == 1
    assert ours.asset(asset_id).tags == ["birds"]
    ours.download(asset_id, tmp_path / "back.txt")
    assert (tmp_path / "back.txt").read_bytes() == note.read_bytes() == ours.content(asset_id)
    ours.delete(asset_id)
    with pytest.raises(MissingError, match=asset_id):
        ours.download(asset_id, tmp_path / "none.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.txt", "note.txt"]


def test_embeddings_are_arrays(ours: Anymodal) -> None:
    rows = ours.embed(["rain", "a dog barks"])
    for one in ("rain", {"text": "rain"}):
        assert np.allclose(ours.embed(one), rows[:1], atol=1e-6)

    assert rows.shape == (2, ours.info().space.embed_dim)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_what_a_filter_names_and_no_file_has_is_said(ours: Anymodal) -> None:
    for filter in ("modality = 'imgae'", {"field": "modality", "eq": "imgae"}):
        (said,) = ours.search("rain", filter=filter).warnings
        assert "image" in said
        (said,) = ours.asset_page(filter).warnings
        assert "image" in said
    assert ours.search("rain", filter="modality=“image”").warnings == []
    assert [asset.modality for asset in ours.assets("modality=image")] == ["image"]


def test_errors_are_of_the_one_tree(ours: Anymodal) -> None:
    with pytest.raises(BadRequestError, match="limit") as wrong:
        ours.search("bread", limit=100_000)
    with pytest.raises(NotFoundError, match="no asset") as missing:
        ours.asset("none")

    assert (wrong.value.status, wrong.value.field) == (422, "limit")
    assert (missing.value.status, missing.value.kind) == (404, "NotFoundError")
    assert missing.value.remedy


def test_a_key_is_sent_and_missed(guarded: httpx.Client, ring: KeyRing) -> None:
    _, token = ring.create("ours", ["read"], 600)
    with Anymodal(str(guarded.base_url), token) as known:
        assert known.search("bread", limit=1).hits
        with pytest.raises(AccessError, match="write"):
            known.delete("none")
    with Anymodal(str(guarded.base_url)) as unknown, pytest.raises(AccessError) as refused:
        unknown.info()
    assert refused.value.status == 401


def answering(*answers: str) -> tuple[str, Thread]:
    """A server that gives these answers in turn, one for each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            for answer in answers:
                peer, _ = listener.accept()
                with peer:
                    peer.recv(65_536)
                    peer.sendall(answer.encode())

    thread = Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}", thread


def response(status: str, body: str, *heads: str) -> str:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *heads]
    return "\r\n".join([*lines, "", body])


BUSY = response("503 Busy", "a proxy's page", "Retry-After: 0")
DONE = response("200 OK", '{"jobs": []}')


def test_asks_again_when_the_server_is_busy() -> None:
    url, thread = answering(BUSY, "", DONE)
    with Anymodal(url) as client:
        assert client.jobs() == []
    thread.join(60)
    assert not thread.is_alive()


def test_gives_up_after_the_last_retry() -> None:
    url, _ = answering(BUSY, BUSY)
    with Anymodal(url, retries=1) as client, pytest.raises(BusyError, match="status 503"):
        client.jobs()


def test_nobody_there_is_said_with_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Anymodal(url, retries=0) as client, pytest.raises(UnreachableError, match=url) as error:
        client.info()
    assert "anymodal serve" in error.value.remedy


def test_the_asynchronous_client_does_the_same(client: httpx.Client, folder: Path) -> None:
    async def ask() -> tuple[str, list[str], str]:
        async with AsyncAnymodal(str(client.base_url)) as ours:
            found = await ours.search(image=folder / "sky.jpg", modalities=["image"], limit=1)
            names = [hit.name async for hit in ours.hits("bread", limit=2)]
            with pytest.raises(AnymodalError) as error:
                await ours.asset("none")
        return found.hits[0].name, names, type(error.value).__name__

    name, names, error = asyncio.run(ask())

    assert (name, error) == ("sky.jpg", "MissingError")
    assert names[0] == "bread.txt"


@pytest.mark.parametrize("name", ["../info", "..", "none?wait=1", "none#x", "%2e%2e/info"])
def test_no_id_is_another_path(ours: Anymodal, name: str) -> None:
    """`/v1/info` is there, so that an id which led to it would be answered."""
    for ask in (ours.job, ours.asset, ours.content, ours.delete, ours.cancel):
        with pytest.raises((MissingError, BadRequestError)):
            ask(name)
