"""Other back-ends on the same weights, each in a process of an environment that has them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BACKENDS = ("torch", "onnx", "onnx-int8", "openvino")
"""Of sentence-transformers; ``onnx-int8`` is what it makes for AVX512 with VNNI."""


class Peer:
    """Gives a text's vector as another library does.

    Args:
        python: of the environment.
        source: the folder of a model, to which the back-end may write.
        backend: one of `BACKENDS`.
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
        )
        try:
            self("a")
        except RuntimeError:
            self.close()
            raise

    def __call__(self, text: str) -> NDArray[np.float32]:
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(text) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"ended with {self._process.wait()}; see what it printed")
        vector = np.array(json.loads(answer), np.float32)
        return vector / np.linalg.norm(vector)

    def cpu_s(self) -> float:
        """CPU-seconds that its process has used."""
        return time.clock_gettime(~self._process.pid << 3 | 2)  # the clock of another process

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@contextmanager
def peers(source: Path, n_threads: int) -> Iterator[tuple[Mapping[str, Peer], list[str]]]:
    """Those that open in the environment whose Python is named by ``PEERS``, and what did not.

    Args:
        source: the folder of a model.
        n_threads: cores of each; 0 for no peers.
    """
    opened: dict[str, Peer] = {}
    missing: list[str] = []
    python = os.environ.get("PEERS") if n_threads else None
    try:
        for backend in BACKENDS if python else ():
            try:
                opened[backend] = Peer(str(python), _older(source), backend, n_threads)
            except RuntimeError as error:
                missing.append(f"{backend} ({error})")
        yield opened, missing
    finally:
        for peer in opened.values():
            peer.close()


def _older(source: Path) -> Path:
    """A copy named as hubs have it, which older libraries open: optimum needs transformers 4."""
    copy = source.with_name("peers")
    shutil.copytree(source, copy, dirs_exist_ok=True)
    for path in copy.rglob("tokenizer_config.json"):
        facts = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**facts, "tokenizer_class": "PreTrainedTokenizerFast"}))
    modules = json.loads((copy / "modules.json").read_text("utf-8"))
    for module in modules:
        module["type"] = f"sentence_transformers.models.{module['type'].rpartition('.')[2]}"
    (copy / "modules.json").write_text(json.dumps(modules))
    return copy
