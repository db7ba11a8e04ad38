"""`anymodal.connect`: one client for a store in this process and for a server."""

from __future__ import annotations

from pathlib import Path

import anymodal
import pytest

from search.client.errors import UnreachableError


def test_a_folder_is_searched_without_a_server(
    bundle_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bundle_home.is_dir()
    monkeypatch.setenv("ANYMODAL_DATA", str(tmp_path / "data"))
    note = tmp_path / "ferry.txt"
    note.write_text("The ferry leaves the harbour at nine.")
    with anymodal.connect(tmp_path / "store") as client:
        client.wait(client.upload([note]).id)
        (hit,) = client.search("When does the boat sail?").hits
        assert "ferry" in hit.uri
    with anymodal.connect(tmp_path / "store") as client:  # the first one has closed it
        assert client.asset(hit.asset_id).asset_id == hit.asset_id


def test_a_url_is_that_of_a_server() -> None:
    client = anymodal.connect("http://127.0.0.1:9")
    with client, pytest.raises(UnreachableError):
        client.search("anything")
