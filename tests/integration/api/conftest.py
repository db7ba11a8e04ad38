"""The API over a real server, with the real bundle, on a store in memory."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from threading import Thread
from time import sleep

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image

from encoder import MultiModalEncoder
from encoder.prepare.reranker import open_reranker
from encoder.system.environment import begin
from search.api.access.auth import Access
from search.api.access.keys import KeyRing
from search.api.app import create_app
from search.api.server import listening_socket, server_for
from search.api.services import Services
from tests.support import overlap_reranker
from workers.config import current_settings
from workers.pipeline.ingest_job import IngestJob
from workers.serving.composition import services
from workers.serving.resources import Resources


@contextmanager
def served(parts: Services, *more: socket.socket) -> Iterator[httpx.Client]:
    """Serve in a thread, at a free port, and at more sockets."""
    server = server_for(create_app(parts), parts.config)
    listener = listening_socket("127.0.0.1", 0)
    thread = Thread(target=server.run, kwargs={"sockets": [listener, *more]}, name="server")
    thread.start()
    while not server.started:
        assert thread.is_alive()
        sleep(0.01)
    port = listener.getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def composed(
    data: Path, encoder: MultiModalEncoder | None = None, **settings: str
) -> Iterator[tuple[Resources, Services]]:
    """The services with these settings, on a store in memory unless they name another."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"STORE": "memory:", "DATA": str(data), **settings}.items():
            patch.setenv(f"ANYMODAL_{name}", value)
        begin({})
        held = Resources(current_settings())
        held._encoder = encoder
        with services(held) as made:
            yield held, made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files are."""
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="session")
def encoder(bundle_home: Path) -> MultiModalEncoder:
    """The one of all servers."""
    assert bundle_home.is_dir()
    begin({})
    return Resources(current_settings()).encoder()


@pytest.fixture(scope="module")
def parts(
    folder: Path, encoder: MultiModalEncoder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    """The services over a few files."""
    (folder / "bread.txt").write_text("Knead the dough, then bake the loaf in a hot oven.")
    (folder / "page.html").write_text("<html><body><p>A rocket in orbit.</p></body></html>")
    rows, columns = np.mgrid[0:240, 0:320]
    sky = np.dstack([rows / 2, rows / 1.5, 255 - columns / 4]).astype(np.uint8)
    Image.fromarray(sky).save(folder / "sky.jpg")
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(6 * 16_000) / 16_000)
    soundfile.write(folder / "tone.wav", tone, 16_000)
    with composed(tmp_path_factory.mktemp("data"), encoder) as (held, made):
        job = IngestJob(encoder, made.store, held.ingest_config)
        report = job.run([str(path) for path in sorted(folder.iterdir())])
        assert report.ingested == 4
        reranker = overlap_reranker.write(tmp_path_factory.mktemp("reranker"), "a rocket")
        yield replace(made, reranker=open_reranker(f"dir:{reranker}"))


@pytest.fixture(scope="module")
def client(parts: Services) -> Iterator[httpx.Client]:
    """A client of the running server."""
    with served(parts) as client:
        yield client


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    """Keys for servers that ask for one."""
    return KeyRing(tmp_path_factory.mktemp("keys") / "keys.json")


@pytest.fixture(scope="module")
def guarded(parts: Services, ring: KeyRing) -> Iterator[httpx.Client]:
    """A server that asks for keys."""
    with served(replace(parts, access=Access(ring, required=True))) as client:
        yield client


@pytest.fixture(scope="module")
def big_asset(client: httpx.Client) -> Iterator[str]:
    """The id of a picture larger than all socket buffers."""
    picture = BytesIO()
    Image.new("RGB", (3000, 2500), "navy").save(picture, "BMP")
    files = [("file", ("big.bmp", picture.getvalue()))]
    answer = client.post("/v1/assets", files=files, params={"wait": True})
    (asset_id,) = answer.json()["job"]["asset_ids"]
    yield asset_id
    client.delete(f"/v1/assets/{asset_id}")
