"""One copy of a network's weights per machine, which all processes map.

In each process ONNX Runtime reads a network into private memory and packs the weights for its
kernels. Here a copy of the network is written as it runs on this machine: optimized, with packed
weights in a file beside it. That file is mapped instead of read, and the operating system keeps
its pages in memory once, however many processes use them.

A copy is made on first use, appears in one rename, and can be deleted at any time."""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import platform
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from encoder.runtime.trial import instruction_sets
from encoder.system.cache import SCRATCH, make_once

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions


_ENVIRONMENT_BYTES, _MXCSR_AT = 32, 28
"""The size of glibc's ``fenv_t`` on x86-64, and the offset of the SSE and AVX register in it."""

_FLUSH_TO_ZERO, _DENORMALS_ARE_ZERO = 0x8000, 0x0040
"""Bits of that register: for results, and for operands."""


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Treat denormals as zero in the calling thread while this is open.

    Does nothing except on Linux on x86-64.
    """
    library = _library()
    if library is None:
        yield
        return
    saved = ctypes.create_string_buffer(_ENVIRONMENT_BYTES)
    library.fegetenv(saved)
    (register,) = struct.unpack_from("<I", saved, _MXCSR_AT)
    within = ctypes.create_string_buffer(saved.raw, _ENVIRONMENT_BYTES)
    struct.pack_into("<I", within, _MXCSR_AT, register | _FLUSH_TO_ZERO | _DENORMALS_ARE_ZERO)
    library.fesetenv(within)
    try:
        yield
    finally:
        library.fesetenv(saved)


@cache
def _library() -> ctypes.CDLL | None:
    if platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.PyDLL("libm.so.6")


MakeOptions: TypeAlias = "Callable[[], SessionOptions]"

NETWORK, WEIGHTS = "network.onnx", "weights.bin"
"""Files of a copy."""

_CHECKSUMS = "checksums.json"
_NOTE = ".digest"
_SMALLEST_BYTES = 1024
_LOCK_TIMEOUT_S = 60.0
_SETTLED_S = 2.0

_log = logging.getLogger(__name__)


def open_shared(
    source: Path, folder: Path, options: MakeOptions, settings: Mapping[str, str]
) -> InferenceSession | None:
    """Open the copy of a network, on the CPU; None if that cannot be done.

    Several processes may call this at once: one makes the copy, the others wait for it. A copy is
    not optimized again; ``settings`` are those of the options that change how it was.
    """
    from onnxruntime import GraphOptimizationLevel

    try:
        copy = folder / copy_name(source, settings, folder)
        write = partial(_write, source, options)
        make_once(copy, write, is_whole=_is_whole, timeout_s=_LOCK_TIMEOUT_S)
        final = options()
        final.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
        return open_session(copy / NETWORK, final)
    # ONNX Runtime's errors share no base class below Exception, and the plain file works too
    except Exception as error:  # noqa: BLE001
        _log.warning("The weights of %s are not shared with other processes: %s", source, error)
        return None


def copy_name(source: Path, settings: Mapping[str, str], notes: Path | None = None) -> str:
    """A hash of all that a copy depends on: network, settings, ONNX Runtime and processor.

    Weights outside the network's file count if they are in ``<source>.data``. ``notes`` is a
    folder that keeps the digests of files until the files change.
    """
    import onnxruntime

    weights = source.with_name(source.name + ".data")  # of networks with weights outside
    facts = [
        *(_digest(path, notes) for path in (source, weights) if path.is_file()),
        sorted(settings.items()),
        onnxruntime.__version__,
        onnxruntime.get_build_info(),
        instruction_sets(),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _digest(path: Path, notes: Path | None) -> str:
    from blake3 import blake3

    facts = path.stat()
    note = f"{facts.st_dev}-{facts.st_ino}-{facts.st_size}-{facts.st_ctime_ns}{_NOTE}"
    if notes and (notes / note).is_file():
        return (notes / note).read_text("ascii")
    digest: str = blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()
    # a file changed just now may change again without a new timestamp
    if notes and time.time() - facts.st_ctime > _SETTLED_S:
        with suppress(OSError):  # a read-only folder will do as well
            scratch = notes / f"{SCRATCH}{os.getpid()}-{note}"
            scratch.write_text(digest, "ascii")
            scratch.replace(notes / note)
    return digest


@denormals_as_zero()
def open_session(path: Path, options: SessionOptions) -> InferenceSession:
    """Open a network on the CPU.

    The calling thread keeps its setting for denormal floats, which a process's first session with
    ``session.set_denormal_as_zero`` would change for good.
    """
    from onnxruntime import InferenceSession

    return InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _write(source: Path, make_options: MakeOptions, copy: Path) -> None:
    options = make_options()
    copy.mkdir()
    options.optimized_model_filepath = str(copy / NETWORK)
    for key, value in {
        "optimized_model_external_initializers_file_name": WEIGHTS,
        "optimized_model_external_initializers_min_size_in_bytes": str(_SMALLEST_BYTES),
        "save_external_prepacked_constant_initializers": "1",
    }.items():
        options.add_session_config_entry(f"session.{key}", value)
    open_session(source, options)
    sums = {path.name: _checksum(path) for path in copy.iterdir()}
    (copy / _CHECKSUMS).write_text(json.dumps(sums), "utf-8")


def _is_whole(copy: Path) -> bool:
    """Whether every byte is as it was written.

    A file that is older than the checksums has not been written to since.
    """
    try:
        sums = dict(json.loads((copy / _CHECKSUMS).read_text("utf-8")))
        written_ns = (copy / _CHECKSUMS).stat().st_mtime_ns
        newer = [name for name in sums if (copy / name).stat().st_mtime_ns >= written_ns]
        if NETWORK not in sums or any(_checksum(copy / name) != sums[name] for name in newer):
            return False
    except (OSError, ValueError, TypeError):
        return False
    return True


def _checksum(path: Path) -> int:
    crc32 = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc32 = zlib.crc32(block, crc32)
    return crc32
