"""Objects of a bucket that a client has the server ingest."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from search.api.config import ApiConfig
from search.api.services import Services
from search.client import Anymodal
from tests.integration.api.conftest import composed
from tests.support import tiny_models as tiny
from tests.support.s3_server import S3Server, s3_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture(scope="module")
def parts(
    tmp_path_factory: pytest.TempPathFactory, server: S3Server, bundle_home: object
) -> Iterator[Services]:
    assert bundle_home
    model = tmp_path_factory.mktemp("model")
    tiny.save_sentence_encoder(model, {"query": "rain on "})
    data = tmp_path_factory.mktemp("data")
    settings = {
        "STORE": str(data / "store"),
        "ENCODER__MODEL": f"dir:{model}",
        "INGEST__STORAGE_OPTIONS": server.setting,
        "API__SOURCES": '["s3://photos/public/", "memory://a/", "gs://b/"]',
    }
    with composed(data, **settings) as (_, made):
        yield made


def ingested(client: httpx.Client, *sources: str, **more: object) -> dict[str, object]:
    with Anymodal(str(client.base_url)) as typed:
        answer = client.post("/v1/jobs", json={"sources": list(sources), **more})
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/v1/jobs/{answer.json()['job']['id']}"
        return typed.wait(answer.json()["job"]["id"]).model_dump()


def test_an_allowed_folder_becomes_searchable_and_downloadable(
    client: httpx.Client, server: S3Server
) -> None:
    server.put_all({"public/a/tin.txt": "tin roofs", "public/bad.png": b"\x89PNG\r\n\x1a\nno"})
    server.put_all({"private.txt": "secret"})
    job = ingested(client, "s3://photos/public/", tags=["roof"], metadata={"license": "CC0"})
    assert (job["files"], job["ingested"], job["failed"]) == (2, 1, 1), job["failures"]
    (failure,) = job["failures"]
    assert failure["name"] == "bad.png"
    assert "s3://" not in failure["reason"]
    (asset,) = client.get("/v1/assets").json()["assets"]
    assert (asset["name"], asset["tags"]) == ("tin.txt", ["roof"])
    assert "object_versions" not in asset["metadata"]
    part = client.get(asset["content_url"], headers={"range": "bytes=4-"})
    assert (part.status_code, part.text) == (206, "roofs")
    said = client.get("/v1/jobs").text + client.get("/v1/assets").text + client.get("/v1/info").text
    assert server.secret_key not in said
    assert server.url not in said
    server.put_all({"public/b.txt": "rain"})
    server.remove("public/a/tin.txt")
    with Anymodal(str(client.base_url)) as typed:
        left = typed.wait(typed.ingest("s3://photos/public/", kinds=["image"]).id)
        assert (left.ingested, left.left_out) == (0, 1)
        assert [one.name for one in left.failures] == ["bad.png", "public"]  # which lost all
        typed.wait(typed.ingest("s3://photos/public/", prune="all").id)
    assert [one["name"] for one in client.get("/v1/assets").json()["assets"]] == ["b.txt"]


def test_a_kind_has_to_be_known(client: httpx.Client) -> None:
    sent = {"sources": ["s3://photos/public/"], "kinds": ["photo"]}
    answer = client.post("/v1/jobs", json=sent)
    assert answer.status_code == 422, answer.text
    assert "image" in answer.json()["error"]["remedy"]


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("s3://photos/", 403),
        ("s3://photos/publications/a", 403),
        ("S3://photos/public/a", 403),
        ("http://169.254.169.254/latest/meta-data/", 403),
        ("sftp://localhost/etc/", 403),
        ("s3://photos/public/../private.txt", 422),
        ("s3://photos/public/%2e%2e/private.txt", 422),
        ("s3://photos/public/%252E%252e%5Cprivate.txt", 422),
        ("/etc/passwd", 403),
        ("file:///etc/passwd", 403),
    ],
)
def test_others_are_refused(client: httpx.Client, source: str, status: int) -> None:
    before = len(client.get("/v1/jobs").json()["jobs"])
    answer = client.post("/v1/jobs", json={"sources": ["memory://a/", source]})
    assert answer.status_code == status, answer.text
    assert "sources[1]" in answer.text
    assert "public" not in answer.json()["error"]["message"].replace(source, "")
    assert len(client.get("/v1/jobs").json()["jobs"]) == before


def test_a_body_that_is_no_request_is_described(client: httpx.Client) -> None:
    kind = {"content-type": "application/json"}
    for body in (b"\x0c\xff\x02", b'{"sources": []}', b'{"sources": ["memory://a/"], "x": 1}'):
        answer = client.post("/v1/jobs", content=body, headers=kind)
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["message"]


def test_a_source_without_its_extra_is_a_failure_of_the_job(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("encoder.system.extras.is_installed", lambda module: module != "gcsfs")
    (failure,) = ingested(client, "gs://b/a/")["failures"]
    assert "[gcs]" in failure["reason"]


def test_what_is_allowed_is_a_whole_beginning() -> None:
    assert ApiConfig.model_fields["sources"].default == ()
    assert ApiConfig(public_roots=["s3://photos/a"]).public_roots == ("s3://photos/a/",)
    for wrong in ("s3://photos", "s3://", "/srv/", "file:///srv/", "photos/"):
        with pytest.raises(ValueError, match="the beginning of a URL"):
            ApiConfig(sources=[wrong])
