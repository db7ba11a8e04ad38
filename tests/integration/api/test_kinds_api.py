"""Files of any kind over HTTP: ours, and one from a third-party package."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from search.api.services import Services
from tests.integration.api.conftest import composed
from tests.support import points_package
from tests.support.http_server import files_at
from tests.support.points_package import write_points
from workers.pipeline.ingest_job import IngestJob

ARCHIVE = (
    "UEsDBBQAAAAAAAAAIVDm4KAPAwAAAAMAAAAFAAAAYS50eHRmb3hQSwECFAMUAAAAAAAAACFQ5uCgDwMAAAADAAAA"
    "BQAAAAAAAAAAAAAAgAEAAAAAYS50eHRQSwUGAAAAAAEAAQAzAAAAJgAAAAAA"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two point clouds, a text, a page and a picture."""
    folder = tmp_path_factory.mktemp("media")
    write_points(folder / "rod.pts", 40.0)
    write_points(folder / "ball.pts")
    (folder / "bread.txt").write_text("Knead the dough, then bake the loaf in a hot oven.")
    (folder / "page.html").write_text("<html><body><p>A rocket in orbit.</p></body></html>")
    Image.new("RGB", (64, 64), "navy").save(folder / "sky.png")
    return folder


@pytest.fixture(scope="module")
def parts(
    folder: Path, bundle_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    """The services where the package is installed."""
    assert bundle_home.is_dir()
    site = tmp_path_factory.mktemp("site")
    points_package.install(site, tower=True)
    allowed = {"INGEST__URL_HOSTS": '["127.0.0.1"]', "INGEST__URL_NETWORKS": '["127.0.0.0/8"]'}
    data = tmp_path_factory.mktemp("data")
    with points_package.importable(site), composed(data, **allowed) as (held, made):
        job = IngestJob(held.encoder(), made.store, held.ingest_config)
        report = job.run([str(path) for path in sorted(folder.iterdir())])
        assert (report.ingested, report.failures) == (5, [])
        yield made


def best(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    name: str = answer.json()["hits"][0]["name"]
    return name


def coded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_info_lists_all_kinds(client: httpx.Client) -> None:
    kinds = {kind["name"]: kind for kind in client.get("/v1/info").json()["kinds"]}
    assert {"text", "html", "pdf", "image", "audio", "video", "docx", "points"} <= set(kinds)
    assert kinds["points"] == {
        "name": "points",
        "label": "Point cloud",
        "plural": "Point clouds",
        "modality": "points",
        "formats": ["PTS"],
        "media_types": ["model/pts"],
        "suffixes": [".pts"],
        "shows": True,
        "queries": True,
        "icon": "M12 3.5 19.5 8v8L12 20.5 4.5 16V8z",
    }
    assert kinds["image"]["plural"] == "Pictures"


@pytest.mark.parametrize("name", ["rod.pts", "ball.pts", "bread.txt", "page.html", "sky.png"])
@pytest.mark.parametrize("with_kind", [True, False])
def test_a_file_of_any_kind_finds_itself(
    client: httpx.Client, folder: Path, name: str, with_kind: bool
) -> None:
    kinds = {"pts": "points", "txt": "text", "html": "html", "png": "image"}
    kind = {"kind": kinds[name.partition(".")[2]]} if with_kind else {}
    in_json = {"query": [{**kind, "base64": coded(folder / name)}]}
    assert best(client.post("/v1/search", json=in_json)) == name
    request = json.dumps({"query": [{**kind, "file": "a"}]})
    sent = {"a": (name, (folder / name).read_bytes())}
    assert best(client.post("/v1/search", data={"request": request}, files=sent)) == name
    part = {kind.get("kind", "file"): (name, (folder / name).read_bytes())}
    assert best(client.post("/v1/search", data={}, files=part)) == name


def test_words_find_what_the_package_brings(client: httpx.Client) -> None:
    for words, name in (("a long thin rod", "rod.pts"), ("a round ball", "ball.pts")):
        asked = {"query": words, "modalities": ["points"]}
        assert best(client.post("/v1/search", json=asked)) == name


@pytest.mark.parametrize(
    ("term", "status", "message"),
    [
        ({"kind": "smell", "base64": "AAAA"}, 422, "one of archive, audio, cards, "),
        ({"kind": "points", "base64": "QQ=="}, 415, "not of the kind points, but looks like text"),
        ({"kind": "points", "text": "a"}, 422, "kind can be given with file, base64, url"),
        ({"kind": "points"}, 422, "exactly one of"),
        ({"file": "a"}, 422, "not a part of this request"),
        ({"base64": "?"}, 422, "not Base64"),
        ({"base64": ""}, 422, "is empty"),
        ({"base64": ARCHIVE}, 415, "one of the files in it"),
        ({"url": "ftp://127.0.0.1/a"}, 422, "http"),
        ({"url": "http://192.0.2.7/a"}, 422, "192.0.2.7"),
        ({"base64": "QQ==", "url": "http://127.0.0.1/a"}, 422, "exactly one of"),
    ],
)
def test_what_is_refused(
    client: httpx.Client, term: dict[str, Any], status: int, message: str
) -> None:
    answer = client.post("/v1/search", json={"query": [term]})
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]["message"] + answer.json()["error"]["remedy"]
    embedded = client.post("/v1/embeddings", json={"input": [term]})
    assert embedded.status_code in (400, 413, 415), embedded.text


def test_a_file_is_fetched_from_a_host_that_is_allowed(client: httpx.Client, folder: Path) -> None:
    with files_at(folder) as home:
        query = [{"kind": "points", "url": f"{home}/rod.pts"}]
        asked = {"query": query, "modalities": ["points"]}
        assert best(client.post("/v1/search", json=asked)) == "rod.pts"


def test_embeddings_take_the_same(client: httpx.Client, folder: Path) -> None:
    data = (folder / "rod.pts").read_bytes()
    given = [{"kind": "points", "base64": base64.b64encode(data).decode()}, "a long thin rod"]
    rows = client.post("/v1/embeddings", json={"input": given}).json()["data"]
    assert rows[0]["embedding"] == pytest.approx(rows[1]["embedding"], abs=1e-3)
    assert [row["windows"] for row in rows] == [None, 1]
    request = json.dumps({"input": [{"kind": "points", "file": "a"}]})
    answer = client.post(
        "/v1/embeddings", data={"request": request}, files={"a": ("rod.pts", data)}
    )
    assert answer.json()["data"][0]["embedding"] == pytest.approx(rows[0]["embedding"])
    assert client.post("/v1/embeddings", files={"a": data}).status_code == 400


def test_an_upload_is_shown_and_found(client: httpx.Client, tmp_path: Path) -> None:
    file = write_points(tmp_path / "pole.pts", 90.0)
    sent = {"file": ("pole.pts", file.read_bytes())}
    job = client.post("/v1/assets", files=sent, params={"wait": True}).json()["job"]
    (asset_id,) = job["asset_ids"]
    assert client.get(f"/v1/assets/{asset_id}").json()["modality"] == "points"
    shown = client.get(f"/v1/assets/{asset_id}/thumbnail", params={"size": 64})
    assert Image.open(BytesIO(shown.content)).size == (64, 64)
    client.delete(f"/v1/assets/{asset_id}")


def test_the_description_names_the_kinds(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name in ("TermIn", "InputIn"):
        assert {"points", "pdf", None} <= set(schemas[name]["properties"]["kind"]["enum"])
