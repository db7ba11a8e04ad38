"""``anymodal list``, ``stats`` and ``info``: alone and beside a server."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anymodal
import httpx
import pytest

from encoder import Item, MultiModalEncoder
from encoder.errors import ModelUnavailableError
from encoder.types import QUERY, TEXT
from search import Query, SearchEngine, open_store
from search.client.errors import UnreachableError
from search.errors import StoreMissingError
from tests.contract.rows import stored_spaces
from tests.integration.conftest import Run
from tests.integration.test_serve import serving
from workers.serving import resources


@pytest.mark.slow
def test_what_is_stored_is_listed_counted_and_shown(here: Run, media: Path, tmp_path: Path) -> None:
    here("ingest", media, "--tag", "sea")
    bread = media / "texts" / "bread.txt"
    with serving(tmp_path):
        pages = [here("list", "--limit", 4)]
        pages.append(here("list", "--limit", 4, "--page", pages[0]["next_page"]))
        assert [len(page["assets"]) for page in pages] == [4, 2]
        assert pages[1]["next_page"] == ""
        ids = [one["asset_id"] for page in pages for one in page["assets"]]
        assert ids == sorted(set(ids))
        chosen = here("list", "--modality", "image,text", "--path", media / "texts")
        assert {Path(one["uri"]).name for one in chosen["assets"]} == {"bread.txt", "space.md"}
        nothing = here("list", "--tag", "none")
        assert (nothing["assets"], nothing["next_page"]) == ([], "")
        assert "none" in nothing["warnings"][0]
        stats = here("store", "stats")
        shown = here("info", bread)
        assert "Nothing is stored for" in here("info", media / "broken.png", fails=1)
    assert (stats["assets"], stats["gone"], stats["languages"]) == (6, 0, {"en": 2})
    assert {kind: one["assets"] for kind, one in stats["kinds"].items()} == {
        "audio": 2,
        "image": 2,
        "text": 2,
    }
    assert stats["kinds"]["text"]["bytes"] == sum(
        path.stat().st_size for path in (media / "texts").iterdir()
    )
    assert shown["locations"] == [str(bread)]
    assert shown["metadata"]["tags"] == ["sea"]
    assert [one["snippet"] for one in shown["segments"]] == [bread.read_text()]
    assert here("store", "stats") == stats
    assert here("info", shown["asset_id"]) == shown


def test_what_encodes_nothing_opens_a_folder_without_its_model(
    here: Run, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANYMODAL_ENCODER__MODEL")
    here("ingest", media / "texts", ANYMODAL_ENCODER__MODEL="bundle:english")
    with monkeypatch.context() as patch:

        def away(*_: object, **__: object) -> None:
            raise ModelUnavailableError("The model is away.")

        patch.setattr(resources, "_opened_encoder", away)
        assert "The model is away" in here("search", "bread", fails=1)
        assert len(here("list")["assets"]) == 2
        assert here("store", "stats")["assets"] == 2
        assert here("info", media / "texts" / "bread.txt")["n_segments"] == 1
        assert here("store", "check")["differences"] == []
        assert here("store", "backup", tmp_path / "copy")["assets"] == 2
        here("delete", media / "texts" / "space.md")
    assert len(here("list")["assets"]) == 1
    (hit,) = here("search", "bread")["hits"]
    assert Path(hit["uri"]).name == "bread.txt"


def test_a_store_is_copied_while_it_is_open(here: Run, store_uri: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "ferry.txt").write_text("The ferry leaves the harbour at nine.")
    (notes / "bread.txt").write_text("Bread rises overnight in a cool kitchen.")
    here("ingest", notes)
    copy = str(tmp_path / "copy")
    (space,) = stored_spaces(store_uri)
    with closing(open_store(store_uri, space, MultiModalEncoder().embed_dim)):
        assert here("store", "backup", copy) == {"assets": 2, "folder": copy}
        here("delete", notes / "ferry.txt")
    assert len(here("list")["assets"]) == 1
    (hit, *_) = here("search", "When does the boat sail?", "--store", copy)["hits"]
    assert "ferry" in hit["uri"]
    assert here("store", "check", "--store", copy)["differences"] == []
    assert here("ingest", notes, "--store", copy)["unchanged"] == 2
    assert "new or empty folder" in here("store", "backup", copy, fails=2)
    assert "new or empty folder" in here("store", "backup", f"{store_uri}/in", fails=2)
    here("delete", notes / "ferry.txt", "--store", copy)
    assert here("store", "restore", copy) == {"assets": 1, "folder": copy}
    assert [Path(asset["uri"]).name for asset in here("list")["assets"]] == ["bread.txt"]
    assert "anymodal store backup" in here("store", "restore", notes, fails=2)
    for other in ("memory:", "http://me:secret@127.0.0.1:9", str(tmp_path / "x.db")):
        said = here("store", "backup", tmp_path / "other", "--store", other, fails=2)
        assert "anymodal store export" in said
        assert here("store", "restore", copy, "--store", other, fails=2) == said
        assert "secret" not in said


def test_what_moved_to_another_store_is_calibrated_there(here: Run, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for number in range(60):
        note = f"Visitor {number} left an umbrella at the counter of the museum."
        (tmp_path / "notes" / f"{number}.txt").write_text(note)
    here("ingest", tmp_path / "notes")
    here("store", "export", tmp_path / "export")
    there = ("--store", tmp_path / "new.db")
    here("store", "import", tmp_path / "export", *there)
    constants, moved = (
        here("store", "calibrate", "--dry-run", *store)["calibration"] for store in ((), there)
    )
    assert (moved["source"], constants["source"]) == ("measured", "measured")
    mu, moved_mu = (each["modalities"]["text"]["mu"] for each in (constants, moved))
    assert moved_mu == pytest.approx(mu, abs=0.01)


def test_a_folder_is_searched_without_a_server(
    bundle_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bundle_home.is_dir()
    monkeypatch.setenv("ANYMODAL_DATA", str(tmp_path / "data"))
    note = tmp_path / "ferry.txt"
    note.write_text("The ferry leaves the harbour at nine.")
    with pytest.raises(StoreMissingError, match="store"):
        anymodal.connect(tmp_path / "store")
    assert list(tmp_path.glob("store*")) == []
    with anymodal.connect(tmp_path / "store", create=True) as client:
        client.wait(client.upload([note]).id)
        (hit,) = client.search("When does the boat sail?").hits
        assert "ferry" in hit.uri
    with anymodal.connect(tmp_path / "store") as client:  # the first one has closed it
        assert client.asset(hit.asset_id).asset_id == hit.asset_id
    script = (
        f"import anymodal\nlibrary = anymodal.connect({str(tmp_path / 'store')!r})\n"
        "print(library.search('When does the boat sail?').hits[0].name)"
    )
    ran = subprocess.run(  # it ends although nobody closes anything
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "ferry.txt\n", "")


def test_the_module_shows_its_public_names() -> None:
    assert set(dir(anymodal)) == set(anymodal.__all__)
    assert all(getattr(anymodal, name) for name in dir(anymodal))


def test_a_url_is_that_of_a_server() -> None:
    client = anymodal.connect("http://127.0.0.1:9")
    with client, pytest.raises(UnreachableError):
        client.search("anything")


def test_the_library_asks_what_the_command_stored(
    anymodal: Run, store_uri: str, tmp_path: Path
) -> None:
    page = tmp_path / "bread.txt"
    page.write_text("Knead the dough, let it rise, and bake the loaf.")
    anymodal("ingest", page)

    encoder = MultiModalEncoder()
    assert stored_spaces(store_uri) == {encoder.space.fingerprint}
    assert encoder.space.identity["quantization"].startswith("int8 ")
    store = open_store(store_uri, encoder.space.fingerprint, encoder.embed_dim, create=False)
    engine = SearchEngine(encoder, store)
    try:
        found = engine.search(Query([Item(TEXT, "how to make bread", QUERY)]))
    finally:
        engine.close()
        store.close()
    assert [hit.title for hit in found.hits] == ["bread"]
    plain = MultiModalEncoder(quantization=None, enable_dsre=False)
    assert plain.space.fingerprint != encoder.space.fingerprint


def test_a_store_is_opened_with_the_settings_that_filled_it(anymodal: Run, tmp_path: Path) -> None:
    page = tmp_path / "bread.txt"
    page.write_text("Knead the dough, let it rise, and bake the loaf.")
    named = {"ANYMODAL_ENCODER__QUANTIZATION": "none", "ANYMODAL_ENCODER__ENABLE_DSRE": "false"}
    anymodal("ingest", page, **named)

    (hit,) = anymodal("search", "how to make bread")["hits"]
    assert hit["title"] == "bread"
    assert anymodal("ingest", page)["unchanged"] == 1
    said = anymodal("search", "bread", fails=1, ANYMODAL_ENCODER__QUANTIZATION="int8")
    assert "Leave out ANYMODAL_ENCODER__QUANTIZATION" in said


SENTENCE = b"The lighthouse keeper counts the ships at dusk."


@contextmanager
def two_servers(tmp_path: Path) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    with (
        serving(tmp_path, "--store", str(tmp_path / "one")) as (_, one),
        serving(tmp_path, "--store", str(tmp_path / "two")) as (_, two),
    ):
        yield one, two


def upload(client: httpx.Client, text: bytes) -> str:
    files = [("file", ("keeper.txt", text))]
    answer = client.post("/v1/assets", files=files, data={"wait": "true"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["job"]["asset_ids"][0])


@pytest.mark.usefixtures("bundle_home")
def test_what_one_store_deletes_the_other_still_shows(tmp_path: Path) -> None:
    root = tmp_path / "data" / "uploads"
    with two_servers(tmp_path) as (one, two):
        asset_id = upload(one, SENTENCE)
        assert upload(two, SENTENCE) == asset_id
        assert one.delete(f"/v1/assets/{asset_id}").status_code == 204
        assert one.get(f"/v1/assets/{asset_id}/content").status_code == 404
        assert two.get(f"/v1/assets/{asset_id}/content").content == SENTENCE
        owners = {path.read_text().strip() for path in root.glob("*/.store")}
        assert owners == {str(tmp_path / "one"), str(tmp_path / "two")}
        assert two.delete(f"/v1/assets/{asset_id}").status_code == 204
    assert not re.findall(asset_id, "\n".join(map(str, root.rglob("*"))))
