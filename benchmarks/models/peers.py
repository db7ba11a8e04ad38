"""Other back-ends on the same weights, each in a process of an environment that has them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BACKENDS = tuple(
    f"sentence-transformers {kind}" for kind in ("torch", "onnx", "onnx-int8", "openvino")
)
"""What runs in the environment that ``PEERS`` names."""


class Peer:
    """Gives vectors as another library does.

    Args:
        python: of the environment.
        source: the folder of a model, to which the back-end may write.
        backend: see `benchmarks.models.peer`.
        n_threads: cores that it may use.

    Raises:
        RuntimeError: it cannot be opened there.
    """

    def __init__(self, python: str, source: Path, backend: str, n_threads: int) -> None:
        script = Path(__file__).with_name("peer.py")
        self._process = subprocess.Popen(
            [python, str(script), str(source), backend, str(n_threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        try:
            self("a")
        except RuntimeError:
            self.close()
            raise

    def __call__(self, text: str) -> NDArray[np.float32]:
        """The vector of a text, or of the picture in a PNG file."""
        vector: NDArray[np.float32] = self.encode([text])[0]
        return vector

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of several, as the library batches them: [n, dim], of length 1."""
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(list(items)) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"ended with {self._process.wait()}; see what it printed")
        vectors = np.array(json.loads(answer), np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def cpu_s(self) -> float:
        """CPU-seconds that its process has used."""
        return time.clock_gettime(~self._process.pid << 3 | 2)  # the clock of another process

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@contextmanager
def peers(
    source: Path, n_threads: int, pythons: Mapping[str, str] | None = None
) -> Iterator[tuple[Mapping[str, Peer], list[str]]]:
    """Those that open, and what did not.

    Args:
        source: the folder of a model.
        n_threads: cores of each; 0 for no peers.
        pythons: by back-end, of the environment that has it; by default that which ``PEERS`` names
            has all `BACKENDS`.
    """
    opened: dict[str, Peer] = {}
    missing: list[str] = []
    if pythons is None:
        python = os.environ.get("PEERS")
        pythons = dict.fromkeys(BACKENDS, python) if python else {}
    try:
        for backend, python in pythons.items() if n_threads else ():
            try:
                opened[backend] = Peer(python, _older(source), backend, n_threads)
            except RuntimeError as error:
                missing.append(f"{backend} ({error})")
        yield opened, missing
    finally:
        for peer in opened.values():
            peer.close()


def cpu_s(others: Iterable[Peer]) -> float:
    """CPU-seconds of this process and of theirs."""
    return time.process_time() + sum(peer.cpu_s() for peer in others)


def _older(source: Path) -> Path:
    """A copy named as hubs have it, which older libraries open: optimum needs transformers 4."""
    copy = source.with_name("peers")
    if copy.exists():
        return copy
    shutil.copytree(source, copy)
    for path in copy.rglob("tokenizer_config.json"):
        facts = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**facts, "tokenizer_class": "PreTrainedTokenizerFast"}))
    for path in copy.glob("modules.json"):  # CLIP has none
        modules = json.loads(path.read_text("utf-8"))
        for module in modules:
            module["type"] = f"sentence_transformers.models.{module['type'].rpartition('.')[2]}"
        path.write_text(json.dumps(modules))
    return copy
