"""What the benchmarks of jobs and of the API are made of."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from benchmarks.api import load, queries
from benchmarks.corpora import segments
from benchmarks.pipeline import ingest, jobs
from encoder import MultiModalEncoder
from encoder.types import AUDIO, IMAGE, TEXT
from examples.samples import make_samples
from search.store.memory import MemoryStore


def content(body: bytes, kind: str) -> bytes:
    return base64.b64decode(json.loads(body)["query"][0][kind])


@pytest.mark.slow
def test_no_two_queries_are_alike(tmp_path: Path) -> None:
    make_samples(tmp_path)
    texts = list(islice(queries.texts(), 300))
    assert len(set(texts)) == 300
    images = list(islice(queries.images(tmp_path), 5))
    assert len(set(images)) == 5
    assert Image.open(io.BytesIO(content(images[0], "image"))).size == (480, 360)
    sounds = list(islice(queries.sounds(tmp_path), 2))
    samples, rate = soundfile.read(io.BytesIO(content(sounds[0], "audio")))
    assert len(samples) / rate == 5
    assert len(set(sounds)) == 2


class Answers(BaseHTTPRequestHandler):
    """Finds something for every query except those for ``nothing``, and fails at ``worse``."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        hits = [] if asked == "nothing" else [1]
        answer = json.dumps({"hits": hits}).encode()
        self.send_response(500 if asked == "worse" else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        """Finds what the address asks for."""
        answer = json.dumps([self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_request_is_an_answer_or_an_error(port: int) -> None:
    bodies = [b"nothing" if i % 10 == 3 else b"worse" if i % 10 == 7 else b"x" for i in range(100)]
    found = load.ask(port, iter(bodies), 50, 4)
    assert len(found.ms) == 40
    assert sorted(error.split(":")[0] for error in found.errors) == ["500"] * 5 + ["no hits"] * 5
    left = [3]

    def goes_on() -> bool:
        left[0] -= 1
        return left[0] >= 0

    assert len(load.ask_while(port, iter([b"x"] * 9), goes_on).ms) == 3


def test_a_server_is_asked_in_its_own_style(port: int) -> None:
    asked: list[str] = []
    style = load.Style("GET", "/search", lambda answer: asked.extend(answer) or answer)
    found = load.ask([port, port], iter([b"query=a", b"query=b"]), 2, 2, style)
    assert sorted(asked) == ["/search?query=a", "/search?query=b"]
    assert len(found.ms) == 2
    nothing = load.Style("GET", "/search", lambda _: [])
    assert load.ask(port, iter([b"query=a"]), 1, style=nothing).errors == ["no hits"]


def test_what_no_tower_ran_in_is_overhead() -> None:
    stages = {"encode_text": 3.0, "encode_audio": 3.5, "read": 2.0, "store": 1.0, "decode": 4.0}
    job = {"seconds": 10.0, "stage_s": stages}
    assert jobs.overhead(job) == pytest.approx(15)
    assert jobs.rate({"segments": {"text": 30, "image": 10}, "wall_s": 8.0}) == 5


def test_a_quick_run_of_jobs_has_one_worker() -> None:
    one = {"seconds": 10.0, "stage_s": {"encode_text": 9.0}, "segments": {"text": 30}, "files": 3}
    plain = {"wall_s": 20.0, "segments": {"text": 30}}
    ways: dict[str, Any] = {jobs._DEFAULT: one, jobs._PLAIN: plain}
    quick = jobs._paragraphs([ways])[1]
    assert "| one worker, default settings | 3.0 |" in quick
    assert "two workers" not in quick
    whole = jobs._paragraphs([{**ways, jobs._ONE: one, jobs._TWO: one}])[1]
    assert "| two workers, times the plain script | 2.00 " in whole


@pytest.mark.slow
def test_segments_are_mixed_and_the_same_each_time(bundle_home: Path) -> None:
    assert bundle_home.is_dir()
    encoder = MultiModalEncoder(quantization="int8")
    stores = [MemoryStore(encoder.embed_dim) for _ in range(2)]
    written = [segments.fill(store, encoder, 20) for store in stores]
    assert written[0] == written[1] == 12 + 5 + 3
    rows = [list(store.scan()) for store in stores]
    assert rows[0] == rows[1]
    assert [sum(row.modality == kind for row in rows[0]) for kind in (TEXT, IMAGE, AUDIO)] == [
        3,
        5,
        1,
    ]
    query = np.ones((1, encoder.embed_dim), np.float32)
    found = [store.search(query, TEXT, 10)[0] for store in stores]
    assert found[0] == found[1]
    assert found[0][0].snippet


def test_a_quick_run_warms_up_with_fewer_files_and_measures_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(folder: Path, _: Path, names: Sequence[str]) -> None:
        for name in names:
            (folder / name).touch()

    monkeypatch.setattr(jobs, "make_samples", lambda _: None)
    monkeypatch.setattr(jobs, "make_corpus", write)
    found = {}
    for n_warm in (20, 6):
        scratch = tmp_path / f"{n_warm}"
        scratch.mkdir()
        media, warm = jobs.make_media(scratch, 36, n_warm)
        assert len(list(warm.iterdir())) == n_warm
        assert {path.suffix for path in warm.iterdir()} == {".txt", ".jpg", ".wav"}
        assert {path.suffix for path in media.iterdir()} == {".txt", ".jpg", ".wav", ".mp4"}
        found[n_warm] = sorted(path.name for path in media.iterdir())
    assert len(found[6]) == 36
    assert found[6] == found[20]


_WORKER_ANSWERS = """
from celery import Celery
from celery.contrib.testing.worker import start_worker
from benchmarks.pipeline import jobs

with start_worker(Celery(broker="memory://"), pool="solo", perform_ping_check=False):
    print(len(jobs.ping("memory://")))
"""


def test_a_stack_waits_for_workers_that_answer() -> None:
    assert jobs.ping("memory://") == []
    # Separately: Celery's worker sets all log levels to ERROR, and remains every task's app.
    found = subprocess.run(
        [sys.executable, "-c", _WORKER_ANSWERS], capture_output=True, text=True, timeout=120
    )
    assert found.stdout == "1\n", found.stderr


def test_a_file_of_the_corpus_is_the_same_alone_and_among_others(tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(samples / "one.png")
    soundfile.write(samples / "one.wav", rng.uniform(-1, 1, 44_100), 44_100)
    (samples / "film.mp4").write_bytes(b"a film")
    of_each = [name for name in ingest.NAMES if Path(name).stem in {"3", "film"}]
    assert {Path(name).suffix for name in of_each} == {".txt", ".jpg", ".wav", ".mp4"}
    for folder, names in (("among", of_each), *((name, [name]) for name in of_each)):
        (tmp_path / folder).mkdir()
        ingest.make_corpus(tmp_path / folder, samples, names)
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == sorted(names)
    for name in of_each:
        alone, among = (tmp_path / folder / name for folder in (name, "among"))
        assert alone.read_bytes() == among.read_bytes()
