"""Hub models over the network: a hub on this machine, and networks in trouble."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from encoder.errors import ModelError
from encoder.models import hub
from tests.support import tiny_models as tiny
from tests.support.http_server import answering

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOAD = (
    "import sys; from encoder.models import hub; from encoder.errors import ModelError\n"
    "try: hub.load('org/tiny', revision=None, device='cpu')\n"
    "except ModelError as error: print(error); sys.exit(7)"
)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["offline", "refused", "silent"])
def test_no_network_is_said_at_once(trouble: str, tmp_path: Path) -> None:
    with socket.socket() as silent:  # it accepts connections and never answers
        silent.bind(("127.0.0.1", 0))
        if trouble == "silent":
            silent.listen()
        environment = {
            "HF_HOME": str(tmp_path),
            "HF_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "HF_HUB_ETAG_TIMEOUT": "1",
            "HF_HUB_OFFLINE": str(int(trouble == "offline")),
        }
        done = subprocess.run(
            [sys.executable, "-c", LOAD],
            env=environment,
            cwd=Path(__file__).parents[4],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 7, done.stderr
    assert "org/tiny is not in the cache and the hub cannot be reached" in done.stdout
    assert "HF_HUB_OFFLINE" in done.stdout


class Hub(BaseHTTPRequestHandler):
    """As much of a model hub as a download needs."""

    folder: Path

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        repo, _, rest = path.removeprefix("/api/models/").partition("/tiny")
        if path.startswith("/api/") and (repo != "org" or "wrong" in rest):
            code = "RevisionNotFound" if "wrong" in rest else "RepoNotFound"
            self._send(404, b"{}", {"X-Error-Code": code}, body=body)
        elif "/tree/" in rest:
            self._send(200, json.dumps(self._tree()).encode(), {}, body=body)
        elif path.startswith("/api/"):
            info = {"id": "org/tiny", "sha": COMMIT, "private": False, "tags": []}
            self._send(200, json.dumps(info).encode(), {}, body=body)
        else:
            name = path.partition(f"/resolve/{COMMIT}/")[2]
            content = (self.folder / name).read_bytes()
            marks = {"X-Repo-Commit": COMMIT, "ETag": f'"{abs(hash(content)):x}"'}
            self._send(200, content, marks, body=body)

    def _tree(self) -> list[dict[str, Any]]:
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return [
            {
                "type": "file",
                "path": path.relative_to(self.folder).as_posix(),
                "size": path.stat().st_size,
                "oid": "0" * 40,
            }
            for path in files
        ]

    def _send(self, status: int, content: bytes, marks: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in {**marks, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    from huggingface_hub import constants

    folder = tiny.save("clip", tmp_path / "served")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "evil.py").write_text("raise SystemExit")
    handler = type("Served", (Hub,), {"folder": folder})
    with answering(handler) as server:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        files = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server


def test_a_hub_model_is_fetched_pinned_and_kept(local_hub: ThreadingHTTPServer) -> None:
    model = hub.load("org/tiny", revision=None, device="cpu")
    assert model.space.identity["model"] == "org/tiny"
    assert model.space.identity["revision"] == COMMIT
    names = {path.name for path in hub.fetch("org/tiny", COMMIT).iterdir()}
    assert "model.safetensors" in names
    assert not names & {"pytorch_model.bin", "evil.py"}
    local_hub.shutdown()
    local_hub.server_close()
    again = hub.load("org/tiny", revision=None, device="cpu")
    assert again.space.fingerprint == model.space.fingerprint


@pytest.mark.usefixtures("local_hub")
@pytest.mark.parametrize(("name", "revision"), [("org/tiny", "wrong"), ("other/tiny", None)])
def test_what_the_hub_does_not_have(name: str, revision: str | None) -> None:
    with pytest.raises(ModelError, match=f"The hub has no {name}.*Check the name and the revision"):
        hub.load(name, revision=revision, device="cpu")
