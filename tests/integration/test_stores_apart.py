"""Two servers of one data folder, each over its own store."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.test_serve import serving

TEXT = b"The lighthouse keeper counts the ships at dusk."


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
        asset_id = upload(one, TEXT)
        assert upload(two, TEXT) == asset_id
        assert one.delete(f"/v1/assets/{asset_id}").status_code == 204
        assert one.get(f"/v1/assets/{asset_id}/content").status_code == 404
        assert two.get(f"/v1/assets/{asset_id}/content").content == TEXT
        owners = {path.read_text().strip() for path in root.glob("*/.store")}
        assert owners == {str(tmp_path / "one"), str(tmp_path / "two")}
        assert two.delete(f"/v1/assets/{asset_id}").status_code == 204
    assert not re.findall(asset_id, "\n".join(map(str, root.rglob("*"))))
