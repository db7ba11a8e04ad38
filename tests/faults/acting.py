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
from threading import Event, Lock, Thread, get_ident
from time import sleep
from typing import Any

import httpx
from blake3 import blake3
from fastapi import FastAPI

from encoder.errors import AnymodalError, InputError
from encoder.space import Calibration
from encoder.system.environment import begin
from encoder.types import TEXT, Item
from search.api.app import create_app
from search.api.server import listening_socket, server_for
from search.errors import SpaceMismatchError, StoreMovedError
from search.store.base import VectorStore
from search.store.calibrated import number_of, unmeasured
from search.store.locks import exclusive
from search.store.space_record import SearchedSpace
from search.store.stored_spaces import space_record
from search.uploads import adoption
from tests.faults import tiny_worker
from workers.config import current_settings
from workers.library.check import checked
from workers.library.portable import Manifest, export_store, import_store, open_export
from workers.library.reindex import ReindexPlan, move
from workers.pipeline.commit_rows import remove
from workers.serving.composition import moved, services
from workers.serving.resources import Resources

TEXTS = {
    "A": "Amber boats leave the harbour at nine.",
    "B": "Basalt columns line the northern shore.",
    "E": "Elder trees grow behind the old mill.",
}
_NAMES = {blake3(text.encode()).hexdigest(length=16): name for name, text in TEXTS.items()}
_A = next(iter(_NAMES))
MODELS = ("bundle:english", "bundle:multilingual")
_OTHER_CONSTANTS = {TEXT: Calibration(0.1, 0.2)}
_EQUAL = 0.99
_TIMES = {"modified", "gone_since"}
_TRIES = 200
_PAUSE_S = 0.02
_FOLLOW_S = 0.2


class Acts:
    """The operations, each a method; all work on the folder ``files``."""

    def __init__(self, folder: Path, held: Resources, app: FastAPI, client: httpx.Client) -> None:
        self._held = held
        self._app = app
        self._client = client
        self._former: list[VectorStore] = []
        self._following = Lock()
        self._first: SearchedSpace | None = None
        self._files = folder / "files"
        self._library = self._files / "library"
        self._export = folder / "export"
        self._old_home = held.uploads.root / _A[:2] / _A

    def ready(self) -> None:
        """Follow the store to its model, before a trial."""
        self.follow()
        while self._former:
            self._former.pop().close()

    def change_files(self, name: str) -> None:
        """What a user does before some of the operations."""
        file = self._library / "a.txt"
        if name == "prune":
            file.unlink(missing_ok=True)
        elif name == "move":
            (self._library / "moved").mkdir(exist_ok=True)
            with suppress(FileNotFoundError):
                file.rename(self._library / "moved" / "a.txt")
        elif name == "edit":
            self._write(file, TEXTS["E"])

    def act(self, name: str) -> None:
        """Do one of the others; again, as its error advises, if the store moved meanwhile."""
        for _ in range(_TRIES):
            self.follow()
            with suppress(StoreMovedError):
                getattr(self, name)()
                return
            sleep(_PAUSE_S)
        raise AssertionError("the store moves and moves")

    def follow(self) -> None:
        """Use the model that the store is searched with, as servers do within seconds."""
        with self._following:
            current = self._held.current()
            if current is None or current.space == self._held.encoder().space.fingerprint:
                return
            parts = moved(other := Resources(self._held.settings), self._app.state.services)
            if former := self._held.adopt(other):
                self._former.append(former)
            self._app.state.services = parts

    def setup(self, start: str) -> None:
        """The same state before each trial: nothing stored, two texts, or one without its file."""
        self.ready()
        self._empty()
        with space_record(self._held.settings.store) as record:
            if self._first and record.read() != self._first:
                record.write(self._first)
        self.ready()
        self._empty()
        store, uploads = self._held.store(), self._held.uploads
        store.recalibrate({}, unmeasured({}).about)
        for left in (self._files, self._export, uploads.root):
            shutil.rmtree(left, ignore_errors=True)
        for name, text in {"library/a": "A", "library/b": "B", "elsewhere/a": "A"}.items():
            self._write(self._files / f"{name}.txt", TEXTS[text])
        self._write(self._old_home / "a.txt", TEXTS["A"])
        self._run(self._library, labels={"tags": ["first"]})
        with space_record(self._held.settings.store) as record:
            self._first = self._first or record.read()
        if start == "stored":
            self._run(self._old_home / "a.txt")
        if start == "gone":  # and its file is there again, as nobody knows yet
            (self._library / "a.txt").rename(self._files / "a.txt")
            self._run(self._library)
            (self._files / "a.txt").rename(self._library / "a.txt")
        if not (export := self._export.with_name(f"export-{start}")).exists():
            space = self._held.encoder().space
            about = Manifest("bundle:english", space.fingerprint, space.embed_dim)
            export_store(store, export, about, lambda *_: None)
        shutil.copytree(export, self._export)
        if start == "new":
            self._empty()

    def _empty(self) -> None:
        store = self._held.store()
        store.catch_up()
        ids = list(store.select(None))
        with exclusive(store, ids):
            store.delete(ids)

    def state(self) -> dict[str, Any]:
        """All that is stored, by content, location and file, whatever the folder is called.

        Parts that are not there are None in the others.
        """
        self.ready()
        store, uploads = self._held.store(), self._held.uploads
        store.catch_up()
        found: dict[str, Any] = {"model": self._held.encoder().model}
        if found["model"] == MODELS[0]:
            found["constants"] = number_of(store.calibrations.current().constants)
        if wrong := checked(store, uploads, lambda *_: None)["differences"]:
            found["check"] = wrong
        rows = {row.asset_id: row for row in store.scan()}
        assert rows.keys() <= _NAMES.keys()
        for asset_id, name in _NAMES.items():
            n_words = len(store.lexical(TEXTS[name].split()[0], 10))
            row = rows.get(asset_id)
            known = row and {
                **{key: row.metadata[key] for key in row.metadata.keys() - _TIMES},
                "locations": sorted(map(self._shown, row.locations)),
                "tags": sorted(row.metadata.get("tags", [])),
                "gone": row.is_gone,
                "segments": row.n_segments,
            }
            found[name] = [known, self._segments(asset_id, TEXTS[name]), n_words]
        at_uris = store.assets_at(self._places())
        for uri, at in at_uris.items():
            assert all(uri in rows[one.asset_id].locations for one in at)
            found[f"at {self._shown(uri)}"] = sorted(_NAMES[one.asset_id] for one in at)
        for row in rows.values():
            assert all(row in at_uris.get(uri, []) for uri in row.locations)
        files = [*self._all(self._files), *self._all(uploads.folder)]
        return found | {f"file {self._shown(str(path))}": True for path in files}

    def _segments(self, asset_id: str, text: str) -> list[bool]:
        """Of each segment, whether it is the text's, and its vector the model's."""
        rows = self._held.store().embeddings(asset_id)
        wanted = self._held.encoder().encode_items([Item(TEXT, text)])[0]
        return [row.snippet == text and float(row.embedding @ wanted) > _EQUAL for row in rows]

    def ingest(self) -> None:
        self._run(self._library)

    def ingest_copy(self) -> None:
        self._run(self._files / "elsewhere")

    def ingest_tagged(self) -> None:
        self._run(self._library, labels={"owner": "Ada"})

    def upload(self, **fields: Any) -> None:
        files = {"file": ("a.txt", TEXTS["A"].encode())}
        answer = self._client.post("/v1/assets", params={"wait": True}, files=files, data=fields)
        self._check(answer)

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
        self._run(self._library, prune=True)

    def move(self) -> None:
        self._run(self._library)

    def edit(self) -> None:
        self._run(self._library)

    def import_export(self) -> None:
        manifest = open_export(self._export)
        try:
            manifest.check_space(Manifest.of(self._held.encoder()))
        except SpaceMismatchError:
            return
        import_store(self._held.store(), self._export, manifest, lambda *_: None)

    def adopt(self) -> None:
        with suppress(FileNotFoundError):
            (self._held.uploads.folder / ".adopted").unlink()
        adoption.adopt(self._held.uploads, self._held.store())

    def reindex(self) -> None:
        self._move(ReindexPlan(MODELS[1], "none", share=1, queries=["harbour"]))

    def rollback(self) -> None:
        self._move(ReindexPlan(rollback=True))

    def _move(self, plan: ReindexPlan) -> None:
        """Again while files cannot be read, as others are moving them."""
        for _ in range(_TRIES):
            with suppress(InputError):  # it has that model, or no former one
                if not move(self._held, plan).switched:
                    sleep(_PAUSE_S)
                    continue
            return
        raise AssertionError("the store does not move")

    def recalibrate(self) -> None:
        self._held.store().recalibrate(_OTHER_CONSTANTS, {"source": "measured"})

    def _run(self, path: Path, **options: Any) -> None:
        for _ in range(3):  # what vanished while it was read is a failure; ingest again
            if not self._held.pipeline().run([str(path)], **options).failures:
                break

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code == 503 and "was moved to another model" in answer.text:
            raise StoreMovedError(answer.text)
        if answer.status_code != 404:
            answer.raise_for_status()

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{os.getpid()}-{get_ident()}")
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
    begin({})
    tiny_worker.load_by(tiny_worker.named_encoder)
    tiny_worker.SECONDS_PER_ITEM = 0.002
    held = Resources(current_settings())
    with services(held) as parts:
        app = create_app(parts)
        server = server_for(app, parts.config)
        listener = listening_socket("127.0.0.1", 0)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            sleep(0.01)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=60) as client:
            acts, ended = Acts(Path(folder), held, app, client), Event()

            def follow() -> None:
                while not ended.wait(_FOLLOW_S):
                    with suppress(AnymodalError):
                        acts.follow()

            follower = Thread(target=follow)
            follower.start()
            _serve(acts)
            ended.set()
            follower.join()
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
