"""Real servers on the loopback, which the tests alone allow."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from wsgidav.wsgidav_app import WsgiDAVApp

from encoder.errors import DiskError, MediaError, MediaLimitError
from ingest import Failure, IngestConfig, segments
from ingest.errors import SecretFileError
from ingest.sources.objects import ObjectServer, Patience, fetch_all, list_objects
from ingest.sources.urls import UrlPolicy, download, identify_url, is_url
from tests.faults.disk import small_disk
from tests.support.http_server import answering

LOOPBACK = ("127.0.0.1/32",)
ALLOWED = IngestConfig(url_hosts=("localhost", "127.0.0.1"), url_networks=LOOPBACK)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        route, _, rest = self.path.lstrip("/").partition("/")
        getattr(self, f"_{route}", self._missing)(rest)

    def _text(self, _: str) -> None:
        self._answer(200, b"The ferry leaves at nine.")

    def _dated(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        self.end_headers()
        self.wfile.write(b"The ferry left.")

    def _to(self, where: str) -> None:
        self.send_response(302)
        self.send_header("Location", where)
        self.end_headers()

    def _hop(self, rest: str) -> None:
        self._to(f"/{rest}")

    def _endless(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(2**16))
        except OSError:
            pass

    def _trickle(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _tick in range(100):
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            pass

    def _huge(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(10**15))
        self.end_headers()

    def _short(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"cut")

    def _missing(self, _: str) -> None:
        self._answer(404, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        self.server.seen.append(self.headers["Host"])  # type: ignore[attr-defined]


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with answering(Handler) as listener:
        listener.seen = []  # type: ignore[attr-defined]
        yield listener


@pytest.fixture
def url(server: ThreadingHTTPServer) -> Callable[..., str]:
    return lambda path, host="127.0.0.1": f"http://{host}:{server.server_port}/{path}"


def test_a_url_becomes_an_asset(url: Callable[..., str], tmp_path: Path) -> None:
    there = url("text/ferry.txt?x=1")
    config = ALLOWED.model_copy(update={"roots": ("/nowhere",)})
    asset = identify_url(there, tmp_path, config)
    assert (asset.uri, asset.media_type) == (there, "text/plain")
    assert asset.metadata["title"] == "ferry"
    assert [s.content for s in segments(asset, config)] == ["The ferry leaves at nine."]


def test_a_url_that_names_a_secret_is_not_even_fetched(
    server: ThreadingHTTPServer, url: Callable[..., str], tmp_path: Path
) -> None:
    with pytest.raises(SecretFileError, match=r"\.env"):
        identify_url(url("text/.env?x=1"), tmp_path, ALLOWED)
    assert not server.seen  # type: ignore[attr-defined]


def test_a_server_says_when_a_file_was_changed(url: Callable[..., str], tmp_path: Path) -> None:
    assert identify_url(url("dated/"), tmp_path, ALLOWED).metadata["modified"] == 1_445_412_480
    began = time.time()
    assert float(identify_url(url("text/"), tmp_path, ALLOWED).metadata["modified"]) >= began - 2


def test_nothing_is_fetched_unless_it_is_allowed(
    url: Callable[..., str], server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    for config, reason in (
        (IngestConfig(), "the host 127.0.0.1 is not allowed. Add --allow-url 127.0.0.1"),
        (IngestConfig(url_hosts=("127.0.0.1",)), "resolves to 127.0.0.1, which is not a public"),
    ):
        with pytest.raises(MediaError, match=reason):
            download(url("text"), tmp_path, config)
    assert server.seen == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("http://localhost:{port}/text", "localhost is not allowed"),
        ("http://169.254.169.254/latest", "169.254.169.254 is not allowed"),
        ("file:///etc/passwd", "not a plain http or https URL"),
        ("ftp://127.0.0.1/a", "not a plain http or https URL"),
        ("hops", "is redirected more than 5 times"),
    ],
)
def test_each_redirect_is_checked(
    url: Callable[..., str], server: ThreadingHTTPServer, tmp_path: Path, where: str, reason: str
) -> None:
    config = IngestConfig(url_hosts=("127.0.0.1",), url_networks=LOOPBACK)
    path = "hop/" * 8 if where == "hops" else "to/" + where.format(port=server.server_port)
    with pytest.raises(MediaError, match=reason):
        download(url(path), tmp_path, config)


def test_a_redirect_to_an_allowed_place_is_followed(
    url: Callable[..., str], tmp_path: Path
) -> None:
    file = download(url("to//text/a"), tmp_path, ALLOWED)
    assert file.read_text() == "The ferry leaves at nine."


def test_a_redirect_that_leads_inside_is_refused(url: Callable[..., str], tmp_path: Path) -> None:
    config = IngestConfig(url_hosts=("127.0.0.1", "10.0.0.7"), url_networks=LOOPBACK)
    with pytest.raises(MediaError, match=r"resolves to 10\.0\.0\.7, which is not a public address"):
        download(url("to/http://10.0.0.7/"), tmp_path, config)


def test_the_address_that_was_checked_is_the_one_connected_to(
    url: Callable[..., str],
    server: ThreadingHTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that is rebound: the first answer is the allowed server, all later ones are not."""
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def rebinding(host: str, port: int, *args: object, **options: object) -> object:
        if host != "rebind.example":
            return resolve(host, port, *args, **options)  # type: ignore[arg-type]
        asked.append(host)
        return resolve("127.0.0.1" if len(asked) == 1 else "10.0.0.7", port, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    config = IngestConfig(url_hosts=("rebind.example",), url_networks=LOOPBACK)
    file = download(url("text", "rebind.example"), tmp_path, config)
    assert file.read_text() == "The ferry leaves at nine."
    assert asked == ["rebind.example"]
    assert server.seen == [f"rebind.example:{server.server_port}"]  # type: ignore[attr-defined]
    with pytest.raises(MediaError, match=r"resolves to 10\.0\.0\.7"):
        download(url("text", "rebind.example"), tmp_path, config)


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "127.0.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
        "[::1]", "[::ffff:127.0.0.1]", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]", "2130706433", "0x7f.1", "[64:ff9b:1::7f00:1]", "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]", "[fec0::1]", "[3fff::1]", "[5f00::1]", "[2001::1]", "[4000::1]",
        "192.88.99.1",
    ],
)  # fmt: skip
def test_addresses_inside_are_refused_in_every_spelling(address: str) -> None:
    policy = UrlPolicy(hosts=(address.strip("[]"),))
    target = policy.target(f"http://{address}/")
    with pytest.raises(MediaError, match=r"which is not a public address|is unknown"):
        policy.addresses("url", target)


def test_public_addresses_are_not_refused() -> None:
    policy = UrlPolicy(hosts=("1.1.1.1", ".example.org"))
    assert policy.addresses("url", policy.target("https://1.1.1.1/a?b")) == ["1.1.1.1"]
    assert policy.target("https://a.Example.org./x?y#z") == ("https", "a.example.org", 443, "/x?y")
    for bad in ("http://example.org", "http://badexample.org", "http://u:p@a.example.org"):
        with pytest.raises(MediaError):
            policy.target(bad)
    with pytest.raises(MediaError, match="is not a URL"):
        policy.target("http://a.example.org:x/")


@pytest.mark.parametrize(
    ("path", "limits", "error", "reason"),
    [
        ("endless", {"max_url_bytes": 10**6}, MediaLimitError, "max_url_bytes is 1,000,000"),
        ("huge", {}, MediaLimitError, "has 1,000,000,000,000,000 bytes or more"),
        ("trickle", {"max_url_s": 0.3}, MediaLimitError, "not fetched in max_url_s, 0.3 s"),
        ("short", {}, MediaError, "cannot be fetched: IncompleteRead"),
        ("nothing", {}, MediaError, "the server answered 404"),
    ],
)
def test_what_is_too_large_too_slow_or_not_there(
    url: Callable[..., str],
    tmp_path: Path,
    path: str,
    limits: dict[str, float],
    error: type[MediaError],
    reason: str,
) -> None:
    with pytest.raises(error, match=reason):
        download(url(path), tmp_path, ALLOWED.model_copy(update=limits))


@pytest.mark.root
def test_a_disk_without_room_is_not_the_servers_fault(
    url: Callable[..., str], tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        disk.fill()
        with pytest.raises(DiskError, match="No space left on device"):
            identify_url(url("text/"), disk.folder, ALLOWED)


def test_what_is_a_url() -> None:
    assert [is_url(p) for p in ("HTTPS://a/b", "http:/a", "a.txt", "/http://a")] == [
        True, False, False, False,
    ]  # fmt: skip


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
