"""Processes share one copy of a network's weights, and get what the network itself gives."""

import ctypes
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from encoder.errors import ModelError
from encoder.runtime import shared
from encoder.runtime.base import Array
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.shared import NETWORK, WEIGHTS, copy_name
from encoder.system.cache import LOCKS
from tests.support.onnx_files import save_network

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
    path = tmp_path_factory.mktemp("tiny") / "model.onnx"
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    return save_network(path, [product], {"w": weights}, {"x": ["n", 64]})


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


def own_memory(path: Path, shared_in: Path | None) -> int:
    """What a session adds to the memory that belongs to this process alone, in kB."""
    OnnxSession(path.parent.parent / "image" / "model.int8.onnx", n_threads=1)  # loads the library
    before = anonymous_kb()
    session = OnnxSession(path, n_threads=1, shared_in=shared_in)
    session.run(TEXTS[0])
    return anonymous_kb() - before


def anonymous_kb() -> int:
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


@on_linux
def test_packed_weights_are_not_kept_twice(bundle_home: Path, tmp_path: Path) -> None:
    path = bundle_home / "text" / "model.int8.onnx"
    OnnxSession(path, shared_in=tmp_path)

    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        own_kb, shared_kb = (pool.apply(own_memory, (path, at)) for at in (None, tmp_path))

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
