"""Who may query paths of the server, and that nobody else can guess them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest.types import Failure
from search.api.access.auth import Access
from search.api.access.keys import KeyRing
from search.api.config import ApiConfig
from search.api.responses.plain_values import failure_json
from search.api.services import Services
from search.filters import Compare, Operator
from tests.integration.api.conftest import served
from tests.integration.api.wire import bearer


@contextmanager
def keyed(parts: Services, ring: KeyRing, scope: str, **settings: object) -> Iterator[httpx.Client]:
    """A client with a key of this scope."""
    config = ApiConfig.model_validate(settings)
    access = Access(ring, required=True)
    with served(replace(parts, config=config, access=access)) as client:
        client.headers.update(bearer(ring.create(scope, [scope], 60_000)[1]))
        yield client


def asked(client: httpx.Client, filter: dict[str, Any]) -> list[httpx.Response]:
    """A filter in every place that takes one."""
    listing = client.get("/v1/assets", params={"filter": json.dumps(filter)})
    body = {"query": "a rocket", "filter": filter, "explain": True}
    form = {"request": (None, json.dumps(body))}
    return [
        listing,
        client.post("/v1/search", json=body),
        client.post("/v1/search", files=form),
    ]


def found(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return sorted(one["name"] for one in body.get("hits", body.get("assets")))


def test_a_key_that_is_no_admins_asks_for_no_path(
    parts: Services, ring: KeyRing, folder: Path
) -> None:
    path = {"field": "path", "prefix": str(folder)[:3]}
    filters = [
        path,
        {"not": path},
        {"field": "path", "exists": False},
        {"or": [{"field": "title", "eq": "x"}, {"and": [path]}]},
    ]
    with keyed(parts, ring, "read") as client:
        for filter in filters:
            for answer in asked(client, filter):
                assert answer.status_code == 403, answer.text
                assert "PUBLIC_ROOTS" in answer.json()["error"]["remedy"]
                assert str(folder) not in answer.text
        assert found(asked(client, {"field": "modality", "eq": "audio"})[0]) == ["tone.wav"]


def test_an_admin_asks_for_any_path(parts: Services, ring: KeyRing, folder: Path) -> None:
    with keyed(parts, ring, "admin") as client:
        for answer in asked(client, {"field": "path", "prefix": f"{folder}/b"}):
            assert found(answer) == ["bread.txt"]


def test_paths_within_public_folders_are_for_all(
    parts: Services, ring: KeyRing, folder: Path
) -> None:
    with keyed(parts, ring, "read", public_roots=[str(folder)]) as client:
        for answer in asked(client, {"field": "path", "prefix": "bre"}):
            assert found(answer) == ["bread.txt"]
            assert str(folder) not in answer.text
        for outside in (str(folder), folder.name, "/"):
            for operator in ("prefix", "contains"):
                for answer in asked(client, {"field": "path", operator: outside}):
                    assert found(answer) == []
    parent = folder.parent.parent / "not-here"
    with keyed(parts, ring, "read", public_roots=[str(parent)]) as client:
        assert found(asked(client, {"field": "path", "exists": True})[0]) == []


def test_folders_are_counted_for_those_who_may_see_them(
    parts: Services, ring: KeyRing, folder: Path
) -> None:
    row = next(parts.store.scan())
    inner = replace(row, asset_id="inner", locations=[f"{folder}/inner/a.txt"])
    parts.store.write([inner], [])
    try:
        for scope, roots, wanted in (
            ("admin", [], {f"{folder}/inner/": 1}),
            ("read", [str(folder)], {"inner/": 1}),
            ("read", [], {}),
        ):
            with keyed(parts, ring, scope, public_roots=roots) as client:
                answer = client.get("/v1/facets", params={"folder": f"{folder}/" * (not roots)})
                listed = answer.json()["folders"]["values"]
            assert {one["value"]: one["count"] for one in listed} == wanted
            assert (folder.name in answer.text) == (scope == "admin")
    finally:
        parts.store.delete(["inner"])


def test_on_the_users_own_machine_paths_are_no_secret(client: httpx.Client, folder: Path) -> None:
    for answer in asked(client, {"field": "path", "prefix": f"{folder}/b"}):
        assert found(answer) == ["bread.txt"]


def test_all_who_reach_a_server_without_keys_are_not_its_user(
    parts: Services, ring: KeyRing, folder: Path
) -> None:
    with served(replace(parts, access=Access(ring, required=False))) as client:
        for answer in asked(client, {"field": "path", "prefix": str(folder)}):
            assert answer.status_code == 403


def test_a_read_key_cannot_distinguish_folders(
    parts: Services, ring: KeyRing, folder: Path
) -> None:
    """No answer to a reader holds any part of the path, whatever is asked."""
    assert list(parts.store.select(Compare("path", Operator.PREFIX, f"{folder}/")))
    with keyed(parts, ring, "read") as client:
        ids = [one["asset_id"] for one in client.get("/v1/assets").json()["assets"]]
        answers = [client.get("/v1/assets"), client.get("/v1/jobs"), client.get("/v1/info")]
        answers += [client.get("/v1/facets"), client.get("/v1/facets", params={"folder": "/"})]
        answers += [client.get(f"/v1/assets/{asset_id}") for asset_id in ids]
        answers += [client.head(f"/v1/assets/{asset_id}/content") for asset_id in ids]
        body = {"query": "a rocket", "explain": True}
        answers += [client.post("/v1/search", json=body)]
        answers += [client.post("/v1/search", json=body | {"sort": "path"})]
    for answer in answers:
        assert folder.name not in answer.text
        assert folder.name not in str(answer.headers)


def test_a_reason_names_no_path_of_the_server() -> None:
    """Nor the path of a link's target, which is in a different place from the link."""
    link = "/srv/photos/a b/link.jpg"
    reason = f"{link} is a link that leads out of the folder, to /home/ann smith/x/y.jpg."
    told = failure_json(Failure(link, "RefusedLinkError", reason))
    assert told["reason"] == "link.jpg is a link that leads out of the folder, to y.jpg."
    media = Failure(link, "MediaError", f"{link} is image/x-odd, and/or a/b of https://e.org/x.")
    assert (
        failure_json(media)["reason"] == "link.jpg is image/x-odd, and/or a/b of https://e.org/x."
    )


def test_a_root_is_a_whole_path_or_an_address() -> None:
    assert ApiConfig.model_validate({"public_roots": ["/srv/a", "/srv/b/"]}).public_roots == (
        "/srv/a/",
        "/srv/b/",
    )
    with pytest.raises(ValueError, match="absolute"):
        ApiConfig.model_validate({"public_roots": ["photos"]})
