"""The process of an `Actor`: operations on a store, as commands and the API do them.

Reads ``[number, operation, options]`` from lines of stdin, and does each in a thread.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from time import sleep
from typing import Any

import httpx
from blake3 import blake3

from search.api.app import create_app
from search.api.server import listening_socket, server_for
from search.api.uploads import adoption
from search.store.base import LexicalIndex
from search.store.locks import exclusive
from workers.config import current_settings
from workers.environment import Options, begin
from workers.pipeline.library.removal import remove
from workers.portable.export import export_store
from workers.portable.load import import_store, open_export
from workers.portable.manifest import Manifest
from workers.serving.composition import services
from workers.serving.resources import Resources

TEXTS = {
    "A": "Amber boats leave the harbour at nine.",
    "B": "Basalt columns line the northern shore.",
    "E": "Elder trees grow behind the old mill.",
}
_NAMES = {blake3(text.encode()).hexdigest(length=16): name for name, text in TEXTS.items()}
_A = next(iter(_NAMES))


class Acts:
    """The operations, each a method; all work on the folder ``files``."""

    def __init__(self, folder: Path, held: Resources, client: httpx.Client) -> None:
        self._held = held
        self._client = client
        self._files = folder / "files"
        self._library = self._files / "library"
        self._export = folder / "export"
        self._old_home = held.uploads.root / _A[:2] / _A

    def ready(self) -> None:
        """Nothing."""

    def setup(self, start: str) -> None:
        """The same state before each trial: nothing stored, or two texts."""
        store, uploads = self._held.store(), self._held.uploads
        store.catch_up()
        ids = list(store.select(None))
        with exclusive(store, ids):
            store.delete(ids)
        for left in (self._files, self._export, uploads.root):
            shutil.rmtree(left, ignore_errors=True)
        for name, text in {"library/a": "A", "library/b": "B", "elsewhere/a": "A"}.items():
            self._write(self._files / f"{name}.txt", TEXTS[text])
        self._write(self._old_home / "a.txt", TEXTS["A"])
        self._run(self._library, labels={"tags": ["first"]})
        if start == "stored":
            self._run(self._old_home / "a.txt")
        space = self._held.encoder().space
        about = Manifest("bundle:english", space.fingerprint, space.embed_dim)
        export_store(store, self._export, about, lambda *_: None)
        if start == "new":
            with exclusive(store, _NAMES):
                store.delete(list(_NAMES))

    def state(self) -> dict[str, Any]:
        """All that is stored, by content, location and file, whatever the folder is called.

        Parts that are not there are None in the others.
        """
        store, uploads = self._held.store(), self._held.uploads
        store.catch_up()
        assert isinstance(store, LexicalIndex)
        found: dict[str, Any] = {}
        rows = {row.asset_id: row for row in store.scan()}
        assert rows.keys() <= _NAMES.keys()
        for asset_id, name in _NAMES.items():
            n_words = len(store.lexical(TEXTS[name].split()[0], 10))
            row = rows.get(asset_id)
            known = row and {
                "locations": sorted(map(self._shown, row.locations)),
                "tags": sorted(row.metadata.get("tags", [])),
                "owner": row.metadata.get("owner"),
                "gone": row.is_gone,
                "segments": row.n_segments,
            }
            found[name] = [known, len(store.embeddings(asset_id)), n_words]
        at_uris = store.assets_at(self._places())
        for uri, at in at_uris.items():
            assert all(uri in rows[one.asset_id].locations for one in at)
            found[f"at {self._shown(uri)}"] = sorted(_NAMES[one.asset_id] for one in at)
        for row in rows.values():
            assert all(row in at_uris.get(uri, []) for uri in row.locations)
        files = [*self._all(self._files), *self._all(uploads.folder)]
        return found | {f"file {self._shown(str(path))}": True for path in files}

    def ingest(self) -> None:
        self._run(self._library)

    def ingest_copy(self) -> None:
        self._run(self._files / "elsewhere")

    def ingest_tagged(self) -> None:
        self._run(self._library, labels={"owner": "Ada"})

    def upload(self, **fields: Any) -> None:
        files = {"file": ("a.txt", TEXTS["A"].encode())}
        answer = self._client.post("/v1/assets", params={"wait": True}, files=files, data=fields)
        answer.raise_for_status()

    def upload_tagged(self) -> None:
        self.upload(tags=["uploaded"])

    def patch(self) -> None:
        change = {"add_tags": ["patched"], "remove_tags": ["first", "uploaded"]}
        self._check(self._client.patch(f"/v1/assets/{_A}", json=change))

    def delete(self) -> None:
        self._check(self._client.delete(f"/v1/assets/{_A}"))

    def delete_folder(self) -> None:
        remove(self._held.store(), str(self._library), self._held.uploads)

    def prune(self) -> None:
        (self._library / "a.txt").unlink(missing_ok=True)
        self._run(self._library, prune=True)

    def move(self) -> None:
        (self._library / "moved").mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            (self._library / "a.txt").rename(self._library / "moved" / "a.txt")
        self._run(self._library)

    def edit(self) -> None:
        self._write(self._library / "a.txt", TEXTS["E"])
        self._run(self._library)

    def import_export(self) -> None:
        manifest = open_export(self._export)
        import_store(self._held.store(), self._export, manifest, lambda *_: None)

    def adopt(self) -> None:
        with suppress(FileNotFoundError):
            (self._held.uploads.folder / ".adopted").unlink()
        adoption.adopt(self._held.uploads, self._held.store(), unfinished=False)

    def _run(self, path: Path, **options: Any) -> None:
        for _ in range(3):  # what vanished while it was read is a failure; ingest again
            if not self._held.pipeline().run([str(path)], **options).failures:
                break

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code != 404:
            answer.raise_for_status()

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{os.getpid()}")
        partial.write_text(text)
        partial.rename(path)

    def _all(self, folder: Path) -> list[Path]:
        return [path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]

    def _places(self) -> list[str]:
        uploads = self._held.uploads
        homes = [self._library, self._library / "moved", self._files / "elsewhere"]
        homes += [uploads.home_of(_A), self._old_home]
        return [str(home / f"{name}.txt") for home in homes for name in "ab"]

    def _shown(self, uri: str) -> str:
        uploads = self._held.uploads
        known = {self._files: "files", uploads.folder: "uploads", uploads.root: "old"}
        for folder, name in known.items():
            uri = uri.replace(str(folder), name)
        return uri


def main(folder: str) -> None:
    begin(Options())
    held = Resources(current_settings())
    with services(held) as parts:
        server = server_for(create_app(parts), parts.config)
        listener = listening_socket("127.0.0.1", 0)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            sleep(0.01)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=60) as client:
            _serve(Acts(Path(folder), held, client))
        server.should_exit = True
        thread.join()


def _serve(acts: Acts) -> None:
    lock = Lock()

    def act(number: int, operation: str, options: dict[str, Any]) -> None:
        try:
            answer = {"result": getattr(acts, operation)(**options)}
        except Exception:  # noqa: BLE001 (the other process says so)
            answer = {"error": traceback.format_exc()}
        with lock:
            sys.stdout.write(json.dumps([number, answer]) + "\n")
            sys.stdout.flush()

    for line in sys.stdin:
        Thread(target=act, args=json.loads(line)).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
