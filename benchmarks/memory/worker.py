"""The memory of a worker's processes: ``python -m benchmarks.memory.worker``.

Processes are forked as Celery's prefork pool does it, before any model is loaded, and read their
own figures in ``/proc/self/smaps_rollup``.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np

from benchmarks.harness.results_pages import table, write_section
from encoder.models.bundle.declaration import read_bundle
from encoder.runtime.base import Array

Kilobytes: TypeAlias = Counter[str]
Body: TypeAlias = Callable[[], object]

_ENGLISH = read_bundle("english")
_NOWHERE = "/dev/null/cache"
"""Where no copy can be written, so that each process holds its own weights."""

_PROCESSES = """\
Processes are forked from one that has loaded no model, as a worker's are. Each encodes a short and
a long text, a picture and 5 s of noise, on one thread, with `quantization="auto"` and
`enable_dsre="auto"`, all on ONNX Runtime. MB are 2^20 bytes. PSS counts a page that n processes
map as 1/n in each; libraries count so too, and other processes of this machine may have them.
*own*: `ANYMODAL_CACHE` is a folder that cannot be written. *shared*: the copies are there already.
Neither the decoders' processes nor the store are in it."""

_NETWORKS = """\
What opening one network and running a batch of one adds to the memory that belongs to a process
alone, after what was freed has gone back: weights, and what a run leaves behind. CTranslate2, which
runs Whisper, cannot map weights."""


def main() -> None:
    """Measure, print, and write the section."""
    os.environ.update(ANYMODAL_ENCODER__N_THREADS="1", OMP_NUM_THREADS="1")
    import workers.serving.worker_process  # noqa: F401 (a worker's main process has it)

    with TemporaryDirectory() as folder:
        encode = partial(_encode, _content(Path(folder)))
        caches = {"own": _NOWHERE, "shared": f"{folder}/cache"}
        os.environ["ANYMODAL_CACHE"] = caches["shared"]
        side_by_side(1, encode)  # makes the copies
        rows: list[list[object]] = []
        added: dict[str, list[object]] = {name: [name] for name in _BODIES}
        for kind, cache in caches.items():
            os.environ["ANYMODAL_CACHE"] = cache
            rows += _rows(kind, encode)
            for name, body in _BODIES.items():
                (found,) = side_by_side(1, body)
                added[name].append(_mb(found["Added"]))
    headings = ["weights", "processes", "RSS of each", "private of each", "PSS of each"]
    headings += ["PSS of all", "each further one adds"]
    text = f"{_PROCESSES}\n\n{table(headings, rows)}\n\n{_NETWORKS}\n\n"
    text += table(["network", "own, MB", "shared, MB"], list(added.values()))
    print(text)
    write_section("Memory of a worker's processes", "python -m benchmarks.memory.worker", text)


def side_by_side(n: int, body: Body) -> list[Kilobytes]:
    """What n forked processes report of their memory while all are alive."""
    fork = multiprocessing.get_context("fork")
    loaded, measured = fork.Barrier(n), fork.Barrier(n)

    def run(end: Connection) -> None:
        kept = body()
        loaded.wait()
        end.send(memory() + Counter(Added=kept if isinstance(kept, int) else 0))
        measured.wait()

    pipes = [fork.Pipe() for _ in range(n)]
    processes = [fork.Process(target=run, args=(end,)) for _, end in pipes]
    for process in processes:
        process.start()
    found = [end.recv() for end, _ in pipes]
    for process in processes:
        process.join()
    return found


def memory() -> Kilobytes:
    """This process's figures, by the kernel's names."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    return Counter({line.split(":")[0]: int(line.split()[1]) for line in lines})


def _own_kb() -> int:
    """Kilobytes that belong to this process alone, once freed memory is given back."""
    ctypes.CDLL(None).malloc_trim(0)
    return memory()["Anonymous"]


def _rows(kind: str, encode: Body) -> Iterator[list[object]]:
    alone_kb = 0.0
    for n in (1, 2, 4):
        found = side_by_side(n, encode)
        means = [sum(kb[of] for kb in found) / n for of in ("Rss", "Private_Dirty", "Pss")]
        all_kb = n * means[2]
        alone_kb = alone_kb or all_kb
        further = _mb((all_kb - alone_kb) / (n - 1)) if n > 1 else ""
        yield [kind, n, *map(_mb, means), _mb(all_kb), further]


def _mb(kb: float) -> str:
    return f"{kb / 1024:.0f}" if kb >= 99.5 * 1024 else f"{kb / 1024:.1f}"


def _content(folder: Path) -> list[tuple[str, str]]:
    from PIL import Image
    from soundfile import write

    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (300, 400, 3), np.uint8)).save(folder / "picture.png")
    write(folder / "noise.wav", rng.normal(0, 0.1, 5 * 44_100), 44_100)
    texts = [("text", "a red car"), ("text", "Where the red car stands by the sea. " * 30)]
    return [*texts, ("image", f"{folder}/picture.png"), ("audio", f"{folder}/noise.wav")]


def _encode(content: list[tuple[str, str]]) -> None:
    from encoder.inputs import AudioFormat, read_argument
    from workers.config import current_settings
    from workers.serving.resources import Resources

    encoder = Resources(current_settings()).encoder()
    for kind, name in content:
        encoder.encode_items(read_argument(kind, name, AudioFormat()).items)


def _open_network(part: str, example: dict[str, Array]) -> int:
    """Kilobytes that a session of ONNX Runtime adds."""
    import onnxruntime  # noqa: F401 (the library does not count as weights)

    from encoder.models.bundle.folder import location
    from encoder.models.bundle.model import network, parse_precision

    folder, precision = location(_ENGLISH), parse_precision(_ENGLISH, "int8")
    before = _own_kb()
    session = precision.open(network(_ENGLISH, folder, part), 1)
    session.run(example)
    return _own_kb() - before


def _open_whisper() -> int:
    """Kilobytes that the speech model adds."""
    import faster_whisper  # noqa: F401

    from encoder.models.bundle.folder import location
    from encoder.services.speech import Speech

    folder, before = location(_ENGLISH), _own_kb()
    speech = Speech(folder / "speech", n_threads=1)
    speech.features(np.zeros(16_000, np.float32))
    return _own_kb() - before


_TEXT = {"input_ids": np.full((1, 32), 2000), "mask": np.ones((1, 32), np.float32)}
_BODIES: dict[str, Body] = {
    "text": partial(_open_network, "text", _TEXT),
    "image": partial(_open_network, "image", {"pixels": np.zeros((1, 3, 260, 260), np.float32)}),
    "sound": partial(_open_network, "audio", {"blocks": np.zeros((1, 100, 96), np.float32)}),
    "speech (Whisper)": _open_whisper,
}


if __name__ == "__main__":
    main()
