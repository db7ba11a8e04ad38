"""Real processes. `hostile` loads into them a text decoder that does what a text says."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from encoder.errors import CorruptMediaError, MediaLimitError
from encoder.system.stopping import stopped_by
from encoder.types import Modality, Waveform
from ingest import Failure, IngestConfig, Segment, identify, ingest, isolate, segments
from ingest.isolate import pool, wire
from ingest.isolate.process import DecoderProcess
from ingest.isolate.wire import Channel, Message
from ingest.kinds.reading import Clock, Header
from tests.support.media import picture, tone, write_film, write_pdf

CONFIG = IngestConfig(isolate=True)

HOSTILE = """
import ctypes, os, sys
from ingest.kinds.plain import Plain

decode = Plain.segments

def segments(self, asset, path, config):
    said = path.read_text()
    if said == "crash":
        ctypes.string_at(0)
    if said == "leave":
        os._exit(3)
    if said == "hang":
        while True:
            pass
    if said == "grow":
        held = []
        while True:
            held.append(bytearray(2**24))
    if said == "write":
        os.write(os.open(path.parent.parent / "out", os.O_CREAT | os.O_WRONLY), b"x")
    if said == "other":
        open("/etc/passwd")
    if said == "neighbour":
        open(f"/proc/{os.getppid()}/environ")
    if said == "open":
        held = [open("/dev/null") for _ in range(100)]
    if said == "bug":
        raise RuntimeError("no such thing")
    if said == "babble":
        os.write(int(sys.argv[2]), b"x" * 100)
    yield from decode(self, asset, path, config)

Plain.segments = segments
"""


@pytest.fixture(autouse=True)
def fresh_processes() -> Iterator[None]:
    isolate.close()
    yield
    isolate.close()


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for texts; Python loads ``sitecustomize`` as it starts in each process."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOSTILE)
    monkeypatch.syspath_prepend(str(hook))
    (tmp_path / "texts").mkdir()
    return tmp_path / "texts"


def decode(path: Path, config: IngestConfig) -> list[Segment]:
    return list(segments(identify(path, config), config))


def samples(folder: Path) -> list[Path]:
    (folder / "a.txt").write_text("Foxes run. 🦊 " * 200)
    Image.fromarray(picture(900, 600)).save(folder / "b.jpg")
    soundfile.write(folder / "c.wav", tone(12), 44_100)
    write_film(folder / "d.mkv", seconds=3)
    write_pdf(folder / "e.pdf", ["Hello", "World"])
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_the_same_comes_out_as_without(tmp_path: Path) -> None:
    for path in samples(tmp_path):
        assert identify(path, CONFIG) == identify(path, IngestConfig())
        pairs = list(zip(decode(path, CONFIG), decode(path, IngestConfig()), strict=True))
        assert pairs
        for a, b in pairs:
            assert [getattr(a, n) for n in wire._PLACES] == [getattr(b, n) for n in wire._PLACES]
            assert (a.asset_id, a.modality) == (b.asset_id, b.modality)
            assert_same(a.content, b.content)


def assert_same(a: object, b: object) -> None:
    if isinstance(b, Waveform):
        assert isinstance(a, Waveform)
        assert a.sampling_rate == b.sampling_rate
        a, b = a.samples, b.samples
    assert type(a) is type(b)
    np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_one_process_decodes_file_after_file(tmp_path: Path) -> None:
    for path in samples(tmp_path):
        decode(path, CONFIG)
    (process,) = pool._pool._idle
    assert process.n_files == 10


@pytest.mark.slow
def test_threads_have_a_process_each(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", seconds=3)
    asset = identify(path, CONFIG)
    with_two = threading.Barrier(2)

    def run() -> None:
        stream = segments(asset, CONFIG)
        next(stream)
        with_two.wait(60)
        list(stream)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pool._pool._idle) == 2


@pytest.mark.slow
def test_a_file_waits_for_a_process_where_all_cores_have_one() -> None:
    one = pool.DecoderPool(n_cores=1, patience_s=120)
    seen = []

    def decode_next() -> None:
        with one.lent(CONFIG.max_memory_bytes, Path("/tmp/a")) as process:
            seen.append(process)

    with one.lent(CONFIG.max_memory_bytes, Path("/tmp/a")) as first:
        waiting = threading.Thread(target=decode_next)
        waiting.start()
        waiting.join(0.3)  # it is at `lent` by now
    waiting.join()
    assert seen == [first]
    one.close()


@pytest.mark.slow
def test_a_file_does_not_wait_for_a_process_that_waits_for_it() -> None:
    """Reading asks for a larger picture while decoders wait for the reader."""
    one = pool.DecoderPool(n_cores=1, patience_s=0.01)
    bytes_each = CONFIG.max_memory_bytes
    with (
        one.lent(bytes_each, Path("/tmp/a")) as first,
        one.lent(bytes_each, Path("/tmp/a")) as second,
    ):
        assert second is not first
    one.close()


REASONS = {
    "crash": ("CorruptMediaError", r"its decoder crashed \(SIGSEGV\)"),
    "leave": ("CorruptMediaError", r"its decoder crashed \(exit status 3\)"),
    "hang": ("MediaLimitError", "was not decoded in .* max_decode_s is 6 s"),
    "grow": ("MediaLimitError", "needs more memory .* max_memory_bytes, 500,000,000"),
    "write": ("CorruptMediaError", "Operation not permitted"),
    "open": ("CorruptMediaError", "Too many open files"),
    "bug": ("CorruptMediaError", "RuntimeError: no such thing"),
    "babble": ("CorruptMediaError", "its decoder sent an invalid answer"),
}


@pytest.mark.slow
def test_a_hostile_file_costs_one_file(hostile: Path) -> None:
    for number, said in enumerate(REASONS):
        (hostile / f"{number}.txt").write_text(said)
        (hostile / f"{number}a.txt").write_text(f"{said} is over.")
    config = IngestConfig(isolate=True, max_decode_s=6, max_memory_bytes=500_000_000)
    failures: list[Failure] = []
    found = list(ingest(hostile, config, failures.append))
    assert [segment.content for segment in found] == [f"{said} is over." for said in REASONS]
    assert [f.uri for f in failures] == [str(hostile / f"{n}.txt") for n in range(len(REASONS))]
    for failure, (error, reason) in zip(failures, REASONS.values(), strict=True):
        assert failure.error == error
        assert re.search(reason, failure.reason)
        assert failure.reason.startswith(failure.uri)
    out = hostile.parent / "out"
    assert not out.exists() or not out.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("said", ["other", "neighbour"])
def test_a_decoder_that_was_taken_over_reads_nothing_else(hostile: Path, said: str) -> None:
    """What else it tries is in tests/faults/test_taken_over.py."""
    assert not isolate.confinement(CONFIG).files, "this kernel lacks what SECURITY.md counts on"
    (hostile / "a.txt").write_text(said)
    (hostile / "b.txt").write_text("fine")
    with pytest.raises(CorruptMediaError, match="Permission denied"):
        decode(hostile / "a.txt", CONFIG)
    assert [segment.content for segment in decode(hostile / "b.txt", CONFIG)] == ["fine"]


@pytest.mark.slow
def test_each_area_has_its_processes_and_they_do_not_add_up() -> None:
    lender, limit = pool.DecoderPool(n_cores=1), CONFIG.max_memory_bytes
    seen = []
    for path in ("/tmp/a", "/tmp/b/c", "/srv/music/d/e", "/srv/music/f", "/srv/films/g"):
        with lender.lent(limit, Path(path)) as process:
            seen.append(process)
    assert [str(one.area) for one in seen] == [*["/tmp"] * 2, *["/srv/music"] * 2, "/srv/films"]
    assert [one.is_alive for one in (seen[0], seen[2], seen[4])] == [False, False, True]
    lender.close()


@pytest.mark.slow
def test_a_picture_that_needs_too_much_memory(tmp_path: Path) -> None:
    Image.new("RGB", (9000, 9000)).save(tmp_path / "bomb.png")
    Image.fromarray(picture(90, 60)).save(tmp_path / "fine.png")
    config = IngestConfig(isolate=True, max_pixels=10**9, max_memory_bytes=400_000_000)
    with pytest.raises(MediaLimitError, match="needs more memory"):
        decode(tmp_path / "bomb.png", config)
    assert len(decode(tmp_path / "fine.png", config)) == 1


@pytest.mark.slow
def test_a_process_that_is_killed_from_outside_costs_one_file(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", seconds=20)
    stream = segments(identify(path, CONFIG), CONFIG)
    (process,) = pool._pool._idle
    next(stream)
    os.kill(process._process.pid, signal.SIGKILL)
    with pytest.raises(MediaLimitError, match="its decoder was killed"):
        list(stream)
    assert decode(path, CONFIG)


@pytest.mark.slow
def test_an_idle_process_that_ended_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Foxes run.")
    decode(tmp_path / "a.txt", CONFIG)
    (process,) = pool._pool._idle
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.wait()
    assert len(decode(tmp_path / "a.txt", CONFIG)) == 1


@pytest.mark.slow
def test_a_film_left_early_leaves_no_process(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", seconds=20)
    stream = segments(identify(path, CONFIG), CONFIG)
    (process,) = pool._pool._idle
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not process.is_alive
    assert pool._pool._idle == []


@pytest.mark.slow
def test_a_decoder_ends_when_nobody_waits_for_it(hostile: Path) -> None:
    (hostile / "a.txt").write_text("hang")
    asset = identify(hostile / "a.txt", CONFIG)
    (process,) = pool._pool._idle

    def leave() -> None:
        raise InterruptedError

    began_s = time.monotonic()
    with stopped_by(leave), pytest.raises(InterruptedError):
        list(segments(asset, CONFIG))
    assert not process.is_alive
    assert time.monotonic() - began_s < CONFIG.max_decode_s / 4


@pytest.mark.moderate
def test_it_has_limits_and_no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_BROKER", "redis://:secret@host")
    process = DecoderProcess(CONFIG.max_memory_bytes, Path("/tmp"))
    environment = Path(f"/proc/{process._process.pid}/environ").read_bytes()
    limits = Path(f"/proc/{process._process.pid}/limits").read_text()
    process.end()
    assert b"secret" not in environment
    soft = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()}
    assert soft["Max address space"] == str(CONFIG.max_memory_bytes)
    assert soft["Max file size"] == soft["Max core file size"] == "0"
    assert soft["Max open files"] == "32"


@pytest.mark.slow
def test_it_ends_with_its_processor_time(hostile: Path) -> None:
    """Which the parent grants anew for each file, beside what was used before."""
    for name, said in (("a", "fine"), ("b", "hang")):
        (hostile / f"{name}.txt").write_text(said)
    asset = identify(hostile / "b.txt", CONFIG)
    decode(hostile / "a.txt", CONFIG)
    request = {"uri": asset.uri, "asset": asdict(asset), "config": wire.config_to_json(CONFIG)}
    with (
        pool._pool.lent(CONFIG.max_memory_bytes, hostile / "b.txt") as process,
        pytest.raises(MediaLimitError, match="used up its processor time"),
    ):
        list(process.ask(request, Clock(asset.uri, CONFIG), lambda message: message, 0.5))


@pytest.mark.slow
def test_it_ends_with_its_parent(hostile: Path) -> None:
    (hostile / "a.txt").write_text("hang")
    (hostile / "b.txt").write_text("fine")
    code = (
        "from pathlib import Path; from ingest import *; import threading, os\n"
        f"config = IngestConfig(isolate=True); folder = Path({str(hostile)!r})\n"
        "list(segments(identify(folder / 'b.txt', config), config))\n"
        "from ingest.isolate import pool\n"
        "print(pool._pool._idle[0]._process.pid, flush=True)\n"
        "list(segments(identify(folder / 'a.txt', config), config))\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        time.sleep(0.5)
        parent.kill()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and not _is_dead(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_dead(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_a_message_travels_and_nonsense_is_refused() -> None:
    read_fd, write_fd = os.pipe()
    channel = Channel(read_fd, write_fd, max_payload=1000)
    channel.send(Message({"a": "ü"}, b"\0\1"))
    message = channel.receive(5)
    assert (message.head, bytes(message.payload)) == ({"a": "ü"}, b"\0\1")
    with pytest.raises(TimeoutError):
        channel.receive(0.01)
    channel.send(Message({}, bytes(1001)))
    with pytest.raises(ValueError, match="1,001 bytes"):
        channel.receive(5)
    channel.close()


def test_a_header_travels_with_the_types_of_its_metadata() -> None:
    header = Header(Modality("audio"), "audio/flac", {"title": "Sea", "duration_s": 2.5, "n": 3})
    assert wire.header_from_message(Message({"header": asdict(header)})) == header


@pytest.mark.parametrize("lie", [None, True, [1], float("nan"), float("inf"), {"a": 1}])
def test_metadata_are_texts_and_numbers(lie: object) -> None:
    facts = {"modality": "audio", "media_type": "audio/flac", "metadata": {"duration_s": lie}}
    with pytest.raises(ValueError, match="Metadata of"):
        wire.header_from_message(Message({"header": facts}))


@pytest.mark.parametrize(
    "lie",
    [
        {"shape": [2, 2, 3]},
        {"shape": [-1, -12]},
        {"dtype": "object"},
        {"modality": "No Such"},
        {"index": "drop"},
    ],
)
def test_arrays_that_are_not_what_they_say(lie: dict[str, object]) -> None:
    told = Segment("a", Modality("image"), 0, np.zeros((2, 2, 3), np.uint8))
    message = wire.segment_to_message(told)
    head = dict(message.head["segment"])
    if lie == {"index": "drop"}:
        del head["index"]
    else:
        head |= lie
    payload = bytes(message.payload)[: 11 if "shape" in lie else None]
    with pytest.raises((ValueError, KeyError)):
        wire.segment_from_message(Message({"segment": head}, payload), "a")
