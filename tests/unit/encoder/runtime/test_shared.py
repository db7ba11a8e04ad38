"""Processes share one copy of a network's weights, and get what the network itself gives."""

import ctypes
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from encoder.errors import ModelError
from encoder.models.bundle.declaration import read_bundle
from encoder.models.bundle.model import network, parse_precision
from encoder.runtime import shared
from encoder.runtime.base import Array
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.shared import NETWORK, WEIGHTS, copy_name
from encoder.system.cache import LOCKS
from tests.support.smaps import mapped_kb

pytestmark = pytest.mark.slow

on_linux = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads /proc")

rng = np.random.default_rng(0)
TEXTS = [
    {"input_ids": rng.integers(1000, 20000, (n, length)), "mask": np.ones((n, length), np.float32)}
    for n, length in ((1, 16), (4, 100))
]
PICTURES = [{"pixels": rng.uniform(-1, 1, (n, 3, 260, 260)).astype(np.float32)} for n in (1, 3)]
SOUNDS = [{"blocks": rng.random((n, 100, 96), np.float32)} for n in (1, 3)]
FILES = {
    "text/model.onnx": TEXTS,
    "text/model.int8.onnx": TEXTS,
    "image/model.onnx": PICTURES,
    "image/model.int8.onnx": PICTURES,
    "audio/model.onnx": SOUNDS,
    "audio/model.int8.onnx": SOUNDS,
}
INPUT = {"x": rng.normal(size=(2, 64)).astype(np.float32)}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with one matrix."""
    weights = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path_factory.mktemp("tiny") / "model.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def is_same(a: list[Array], b: list[Array]) -> bool:
    """To the last bit."""
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name", FILES)
def test_outputs_are_the_same_to_the_last_bit(
    name: str, n_threads: int, bundle_home: Path, tmp_path: Path
) -> None:
    path = bundle_home / name
    own = OnnxSession(path, n_threads=n_threads)
    made = OnnxSession(path, n_threads=n_threads, shared_in=tmp_path)
    found = OnnxSession(path, n_threads=n_threads, shared_in=tmp_path)

    (copy,) = copies(tmp_path)
    assert copy.name == copy_name(path, {})
    for example in FILES[name]:
        assert is_same(made.run(example), own.run(example))
        assert is_same(found.run(example), own.run(example))


def copies(folder: Path) -> list[Path]:
    return [path for path in folder.glob("[!.]*") if path.is_dir()]


Said = Any


def open_text_and_image(bundle: Path, say: Connection, go_on: Any) -> None:
    """A worker's process: opens two networks, uses them and waits."""
    english = read_bundle("english")
    precision = parse_precision(english, "int8")
    sessions = [precision.open(network(english, bundle, part), 1) for part in ("text", "image")]
    outputs = [s.run(e[0]) for s, e in zip(sessions, (TEXTS, PICTURES), strict=True)]
    say.send([array.tobytes() for output in outputs for array in output])
    go_on.wait(60)


@contextmanager
def processes(n: int, body: Callable[..., None], *args: object) -> Iterator[list[tuple[int, Said]]]:
    """Each process's id and what it said, while all of them are alive."""
    context = multiprocessing.get_context("spawn")
    go_on = context.Event()
    ends = [context.Pipe() for _ in range(n)]
    started = [context.Process(target=body, args=(*args, end, go_on)) for _, end in ends]
    for process in started:
        process.start()
    try:
        for end, _ in ends:
            assert end.poll(60), "a process says nothing"
        yield [(p.pid or 0, end.recv()) for p, (end, _) in zip(started, ends, strict=True)]
    finally:
        go_on.set()
        for process in started:
            process.join(30)
            process.kill()


@on_linux
def test_two_processes_share_the_pages_of_the_weights(
    bundle_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))

    with processes(2, open_text_and_image, bundle_home) as ((a, said), (b, also_said)):
        assert said == also_said
        assert len(copies(tmp_path / "shared")) == 2
        for pid in (a, b):
            found = mapped_kb(pid, WEIGHTS)
            shared = found["Shared_Clean"] + found["Shared_Dirty"]
            assert found["Rss"] > 15_000  # the text network's layers have 11 MB, packed
            assert shared > 0.95 * found["Rss"]
            assert found["Anonymous"] == 0
            assert found["Private_Dirty"] < 0.05 * found["Rss"]


def own_memory(path: Path, shared_in: Path | None, say: Connection, _: object) -> None:
    """What a session adds to the memory that belongs to this process alone, in kB."""
    small = {"input_ids": TEXTS[0]["input_ids"], "mask": TEXTS[0]["mask"]}
    OnnxSession(path.parent.parent / "image" / "model.int8.onnx", n_threads=1)  # loads the library
    before = anonymous_kb()
    session = OnnxSession(path, n_threads=1, shared_in=shared_in)
    session.run(small)
    say.send(anonymous_kb() - before)


def anonymous_kb() -> int:
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


@on_linux
def test_packed_weights_are_not_kept_twice(bundle_home: Path, tmp_path: Path) -> None:
    path = bundle_home / "text" / "model.int8.onnx"
    OnnxSession(path, shared_in=tmp_path)

    with processes(1, own_memory, path, None) as ((_, own_kb),):
        pass
    with processes(1, own_memory, path, tmp_path) as ((_, shared_kb),):
        pass

    assert own_kb - shared_kb > 18_000


def flip_a_bit(copy: Path) -> None:
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / WEIGHTS).write_bytes(data)


def cut_short(copy: Path) -> None:
    os.truncate(copy / WEIGHTS, 100)


def lose_the_network(copy: Path) -> None:
    (copy / NETWORK).unlink()


def told(text: str) -> Callable[[Path], None]:
    def damage(copy: Path) -> None:
        (copy / "checksums.json").write_text(text)

    return damage


@pytest.mark.parametrize(
    "damage",
    [flip_a_bit, cut_short, lose_the_network, told("{"), told("{}"), told("[]"), told("1")],
)
def test_a_damaged_copy_is_replaced(
    damage: Callable[[Path], None], tiny: Path, tmp_path: Path
) -> None:
    wanted = OnnxSession(tiny, shared_in=tmp_path).run(INPUT)
    (copy,) = copies(tmp_path)
    whole = {path.name: path.read_bytes() for path in copy.iterdir()}
    damage(copy)

    session = OnnxSession(tiny, shared_in=tmp_path)

    assert is_same(session.run(INPUT), wanted)
    assert copies(tmp_path) == [copy]
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == whole


def test_without_a_place_to_write_the_process_has_its_own(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()

    session = OnnxSession(tiny, shared_in=in_the_way / "shared")

    assert is_same(session.run(INPUT), OnnxSession(tiny).run(INPUT))
    assert f"The weights of {tiny} are not shared" in caplog.text


def test_a_copy_in_a_folder_that_cannot_be_written_is_used(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    OnnxSession(tiny, shared_in=tmp_path)
    shutil.rmtree(tmp_path / LOCKS)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)

    assert is_same(OnnxSession(tiny, shared_in=tmp_path).run(INPUT), OnnxSession(tiny).run(INPUT))
    assert not (tmp_path / LOCKS).exists()


def test_what_is_no_network_is_reported_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no network")

    with pytest.raises(ModelError, match=r"model\.onnx cannot be run"):
        OnnxSession(path, shared_in=tmp_path / "shared")

    assert copies(tmp_path / "shared") == []


def test_a_copy_is_of_one_content_and_one_setting(tiny: Path, tmp_path: Path) -> None:
    moved, changed = tmp_path / "moved.onnx", tmp_path / "changed.onnx"
    moved.write_bytes(tiny.read_bytes())
    changed.write_bytes(tiny.read_bytes()[:-1])

    assert copy_name(moved, {}) == copy_name(tiny, {})
    names = {copy_name(tiny, {}), copy_name(changed, {}), copy_name(tiny, {"session.x": "1"})}
    assert len(names) == 3


def test_a_copy_is_of_the_weights_beside_a_network(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    outputs, names = [], set()
    for factor in (1, 2):
        network = onnx.load(tiny)
        for tensor in network.graph.initializer:
            tensor.CopyFrom(
                numpy_helper.from_array(factor * numpy_helper.to_array(tensor), tensor.name)
            )
        path.with_name("network.onnx.data").unlink(missing_ok=True)
        onnx.save_model(
            network,
            path,
            save_as_external_data=True,
            location="network.onnx.data",
            size_threshold=0,
        )
        outputs += OnnxSession(path, shared_in=tmp_path / "copies").run(INPUT)
        names.add(copy_name(path, {}))
    assert len(names) == len(copies(tmp_path / "copies")) == 2
    assert not np.allclose(*outputs)


def test_a_network_and_its_copy_are_read_again_only_when_they_changed(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = tmp_path / "network.onnx", tmp_path / "copies"
    path.write_bytes(tiny.read_bytes())
    monkeypatch.setattr(shared, "_SETTLED_S", -1.0)
    wanted = OnnxSession(path, shared_in=folder).run(INPUT)
    (copy,) = copies(folder)
    for file in (copy / NETWORK, copy / WEIGHTS):
        os.utime(file, (0, 0))

    def refuse(*_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(shared, "_checksum", refuse)
        patch.setattr("blake3.blake3", refuse)
        assert is_same(OnnxSession(path, shared_in=folder).run(INPUT), wanted)
    path.unlink()
    path.write_bytes(tiny.read_bytes()[:-1])
    assert copy_name(path, {}, folder) == copy_name(path, {}) != copy.name
