"""Objects on a WebDAV server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from wsgidav.wsgidav_app import WsgiDAVApp

from ingest import Failure, IngestConfig
from ingest.sources.objects import ObjectServer, Patience, fetch_all, list_objects


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "files" / "in ß").mkdir(parents=True)
    users = {"user_mapping": {"*": {"anna": {"password": "pass-word"}}}}
    where = {"provider_mapping": {"/": str(tmp_path / "files")}, "simple_dc": users}
    app = WsgiDAVApp({**where, "verbose": 0, "logging": {"enable": False}})
    with make_server("127.0.0.1", 0, app, _Server, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def config(password: str) -> IngestConfig:
    options = {"webdav": {"auth": ["anna", password]}}
    return IngestConfig(storage_options=json.dumps(options))


def test_a_folder_is_listed_and_fetched(port: int, tmp_path: Path) -> None:
    (tmp_path / "files" / "in ß" / "语 a.txt").write_text("The ferry leaves at nine.")
    (tmp_path / "files" / ".anymodalignore").write_text("*.tmp\n")
    (tmp_path / "files" / "b.tmp").write_text("no")
    root, known = f"webdav://127.0.0.1:{port}/", config("pass-word")
    assert [*list_objects(root, known, print)] == [f"{root}in ß/语 a.txt"]
    facts = ObjectServer(root, known).look(f"{root}in ß/语 a.txt")
    assert facts is not None
    ((_, asset),) = fetch_all([facts], tmp_path, known, Patience())
    assert Path(asset.path).read_text() == "The ferry leaves at nine."
    (tmp_path / "files" / "in ß" / "语 a.txt").write_text("The ferry leaves at ten, not nine.")
    later = ObjectServer(root, known).look(f"{root}in ß/语 a.txt")
    assert later is not None
    assert later.version != facts.version


def test_a_wrong_password_is_refused_and_not_shown(port: int) -> None:
    refused = list[Failure]()
    root = f"webdav://127.0.0.1:{port}/"
    assert [*list_objects(root, config("hunter-2"), refused.append)] == []
    assert "may not be read" in refused[0].reason
    assert "hunter-2" not in refused[0].reason
