"""The description of the API is true: valid requests get the answers that it declares."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from search.api.access.auth import Access
from search.api.access.keys import KeyRing
from search.api.config import ApiConfig
from search.api.services import Services
from tests.integration.api.conftest import served

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIG = Path(__file__).with_name("schemathesis.toml")
# All checks are on by default; naming them would override what the file turns off.
CHECKS = ("--seed", "1", "--generation-database", "none")
OPEN = {("DELETE", "/v1/session"), ("GET", "/healthz"), ("GET", "/readyz")}


def tried(client: httpx.Client, parts: Services, folder: Path, *options: str) -> None:
    """Try all operations with all checks; the tool writes into the folder."""
    shown = next(asset.asset_id for asset in parts.store.scan() if asset.modality == "image")
    command = [SCHEMATHESIS, "--config-file", CONFIG, "run", f"{client.base_url}/openapi.json"]
    done = subprocess.run(
        [*command, *CHECKS, "--request-timeout", "60", "--no-color", *options],
        check=False,
        cwd=folder,
        env={**os.environ, "SHOWN_ASSET_ID": shown},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
    assert re.search(r"Tested: \d", done.stdout), done.stdout[-6000:]


@pytest.mark.timeout(600)
def test_every_answer_is_as_described(
    guarded: httpx.Client, parts: Services, ring: KeyRing, tmp_path: Path
) -> None:
    """Also for requests that are invalid, lack their key, or use a wrong method."""
    _, token = ring.create("all", ["admin"], 1_000_000)
    header = f"Authorization: Bearer {token}"
    tried(guarded, parts, tmp_path, "--max-examples", "10", "--header", header)


def operations(client: httpx.Client) -> dict[tuple[str, str], dict[str, Any]]:
    paths = client.get("/openapi.json").json()["paths"]
    return {
        (method.upper(), path): operation
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


OWN_USER = {("POST", "/v1/assets/{asset_id}/folder")}
"""What only this machine's user may do, with no key."""


def test_every_operation_has_an_id_and_says_how_it_may_fail(client: httpx.Client) -> None:
    found = operations(client)
    ids = [operation["operationId"] for operation in found.values()]
    assert len(set(ids)) == len(ids)
    for (method, path), operation in found.items():
        if path.startswith("/v1/") and (method, path) not in OPEN:
            assert "401" in operation["responses"], path


def test_security_is_what_a_request_without_a_key_meets(
    guarded: httpx.Client, client: httpx.Client, ring: KeyRing
) -> None:
    reader = {"Authorization": f"Bearer {ring.create('reader', ['read'], 100_000)[1]}"}
    for (method, path), operation in operations(guarded).items():
        url = path.replace("{", "").replace("}", "")
        answer = guarded.request(method, url)
        needed = operation.get("security")
        assert (answer.status_code == 401) == bool(needed), path
        assert (needed is None) == ((method, path) in OPEN), path
        if needed:
            (scope,) = needed[0]["key"]
            assert f"`{scope}`" in operation["description"]
            assert ({"session": [scope]} in needed) == (method == "GET")
            refused = guarded.request(method, url, headers=reader).status_code == 403
            assert refused == (scope != "read" or (method, path) in OWN_USER), path
    for operation in operations(client).values():
        assert "security" not in operation or {} in operation["security"]


def test_metrics_that_all_may_see_need_no_key(parts: Services, ring: KeyRing) -> None:
    config = ApiConfig(open_metrics=True)
    with served(replace(parts, config=config, access=Access(ring, required=True))) as client:
        assert "security" not in operations(client)["GET", "/metrics"]
        assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/session", "DELETE, POST"),
        ("/v1/assets", "GET, POST"),
        ("/v1/jobs/abc", "DELETE, GET"),
        ("/v1/models/hf:org/name", "GET"),
        ("/healthz", "GET, HEAD"),
        ("/", "GET, HEAD"),
    ],
)
def test_a_wrong_method_gets_the_right_ones(client: httpx.Client, path: str, allowed: str) -> None:
    answer = client.request("PATCH", path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed


def test_generated_clients_get_one_body_for_each_operation(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    bodies = {
        operation["operationId"]: [*operation["requestBody"]["content"]]
        for path in paths.values()
        for operation in path.values()
        if "requestBody" in operation
    }
    assert all(len(media_types) == 1 for media_types in bodies.values()), bodies
    assert bodies["search"] == ["application/json"]
    form = client.post("/v1/search/files", files={"text": (None, "rain")})
    assert form.json()["hits"] == client.post("/v1/search", json={"query": "rain"}).json()["hits"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_what_is_not_there_is_not_found_by_any_method(client: httpx.Client, method: str) -> None:
    assert client.request(method, "/v1/embedings").status_code == 404


def test_a_number_is_no_truth_value(client: httpx.Client) -> None:
    refused = client.post("/v1/search", json={"query": "rain", "explain": 1})
    assert refused.status_code == 422
    fields = {"text": "rain", "limit": "2", "explain": "true"}
    form = client.post("/v1/search", files={name: (None, value) for name, value in fields.items()})
    assert form.status_code == 200
    assert form.json()["explain"]
