"""Stores and uploads at rest: private, and searchable where they may not be written."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.integration.conftest import Run
from tests.integration.test_serve import serving

pytestmark = pytest.mark.usefixtures("bundle_home")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder on a read-only disk, for the length of the block; mounting needs root."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def open_to_others(folder: Path) -> list[Path]:
    found = [folder, *folder.rglob("*")]
    return [path for path in found if stat.S_IMODE(path.lstat().st_mode) & 0o077]


def test_stores_uploads_and_keys_are_private_whatever_the_umask(
    anymodal: Run, media: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    store = tmp_path / "data" / "store"
    before = os.umask(0)
    try:
        anymodal("ingest", media / "texts")
        assert open_to_others(store) == []
        for path in [store, *store.rglob("*")]:  # as earlier versions left it
            path.chmod(0o777 if path.is_dir() else 0o666)
        anymodal("search", "bread")
        assert open_to_others(store) == []
        anymodal("keys", "create", "me", ANYMODAL_DATA=str(data))
        with serving(tmp_path) as (process, client):
            files = {"file": ("tide.txt", b"The tide comes in twice a day.")}
            fields = {"tags": "sea", "wait": "true"}
            answer = client.post("/v1/assets", files=files, data=fields)
            assert answer.status_code == 200, answer.text
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    finally:
        os.umask(before)
    assert (data / "keys.json").is_file()
    assert list(data.glob("uploads/*/*/*/tide.txt"))
    assert open_to_others(data) == []


def test_a_read_only_store_is_searched_and_not_written(
    anymodal: Run, here: Run, media: Path, tmp_path: Path
) -> None:
    here("ingest", media / "texts")
    store = tmp_path / "data" / "store"
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    with read_only(store):
        for words in (["search", "baking bread"], ["search", "rocket", "--path", str(media)]):
            hits = here(*words)["hits"]
            assert Path(hits[0]["uri"]).name in ("bread.txt", "space.md")
        for words in (["ingest", media], ["delete", media]):
            assert "can be searched, but not written to" in here(*words, fails=1)
        with serving(tmp_path, "--store", str(store)) as (_, client):
            hit = client.post("/v1/search", json={"query": "baking bread"}).json()["hits"][0]
            assert hit["name"] == "bread.txt"
            assert client.get(hit["content_url"]).status_code == 200
            files = {"file": ("tide.txt", b"The tide.")}
            for refused in (
                client.post("/v1/assets", files=files),
                client.delete(f"/v1/assets/{hit['asset_id']}"),
            ):
                assert refused.status_code == 403
                assert refused.json()["error"]["type"] == "ReadOnlyStoreError"
                assert str(tmp_path) not in refused.text
            assert anymodal("search", "rocket")["hits"]  # several may read at once
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before
    assert here("ingest", media / "texts")["unchanged"] == 2


_AS_ANOTHER = """
import os, sys
import numpy as np
import pyarrow, pymilvus, milvus_lite.adapter.grpc.server  # which another user may not read
from encoder.types import TEXT
from search.errors import ReadOnlyStoreError, StoreError
from search.store.open import open_store
from search.types import AssetRow
rows = [AssetRow("a", TEXT, "text/plain", 1, {}, ["/a.txt"])]
first = open_store(sys.argv[1], "0123456789abcdef", 4)
first.write(rows, [])
first.close()
os.makedirs("closed/in")
os.chmod("closed", 0o700 if os.geteuid() == 0 else 0)
os.system(f"chmod -R a+rX,a-w {sys.argv[1]}")
if os.geteuid() == 0:  # whom no permission binds
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
store = open_store(sys.argv[1], "0123456789abcdef", 4)
assert list(store.assets(["a"])) == ["a"] and store.read_only
for change in (lambda: store.write(rows, []), lambda: store.delete(["a"])):
    try:
        change()
    except ReadOnlyStoreError as error:
        print(error)
print(len(list(store.scan())))
store.close()
try:
    open_store("closed", "0123456789abcdef", 4)
except StoreError as error:
    print(error)
"""


def test_a_store_without_the_right_to_write_is_searched() -> None:
    with TemporaryDirectory() as folder:  # pytest's own folder lets no other user in
        Path(folder).chmod(0o755)
        run = subprocess.run(
            [sys.executable, "-c", _AS_ANOTHER, "store"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        subprocess.run(["chmod", "-R", "u+rwX", folder], check=True)
    words = ["not written to", "not written to", "1", "cannot be read"]
    lines = run.stdout.splitlines()
    assert len(lines) == 4, run.stderr
    assert all(word in line for word, line in zip(words, lines, strict=True)), run.stdout
