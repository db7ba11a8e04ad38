"""Other back-ends on the same weights, each in a process of an environment that has them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

BACKENDS = tuple(
    f"sentence-transformers {kind}" for kind in ("torch", "onnx", "onnx-int8", "openvino")
)
"""What runs in the environment that ``PEERS`` names."""

OPENS_S, ANSWERS_S, _ENDS_S = 900.0, 180.0, 10.0
"""Seconds until a peer must have opened, answered and ended; on a busy core some take minutes."""

_ERROR = re.compile(r"^[\w.]*(?:Error|Exception): [^\n]{,160}", re.MULTILINE)
_LIBRARIES = (
    "sentence-transformers",
    "fastembed",
    "transformers",
    "torch",
    "onnxruntime",
    "openvino",
)


def for_optimum(source: Path) -> Path:
    """A copy for libraries built on transformers 4; back-ends write their graphs into it.

    Today's sentence-transformers and transformers write names that those do not know.
    """
    target = source.with_name("peers")
    if target.exists():
        return target
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns("network"))
    _change(
        partial / "tokenizer_config.json",
        lambda facts: {**facts, "tokenizer_class": "PreTrainedTokenizerFast"},
    )
    old = "sentence_transformers.models."
    _change(
        partial / "modules.json",
        lambda modules: [{**one, "type": old + one["type"].rpartition(".")[2]} for one in modules],
    )
    images = partial / "processor_config.json"
    if images.exists():
        facts = json.loads(images.read_text("utf-8"))["image_processor"]
        (partial / "preprocessor_config.json").write_text(json.dumps(facts), "utf-8")
    return partial.rename(target)


def _change(path: Path, change: Callable[[Any], Any]) -> None:
    """Rewrite a JSON file if it exists; CLIP has only a few of them."""
    if path.exists():
        path.write_text(json.dumps(change(json.loads(path.read_text("utf-8")))), "utf-8")


class Peer:
    """Gives the vectors of another library.

    Args:
        python: of the environment that has it.
        source: the folder of a model, to which the back-end may write.
        backend: see `benchmarks.models.peer`.
        n_threads: cores that it may use.

    Raises:
        RuntimeError: it cannot be opened there.
    """

    def __init__(self, python: str, source: Path, backend: str, n_threads: int) -> None:
        if not shutil.which(python):
            raise RuntimeError(f"there is no {python}")
        script = Path(__file__).with_name("peer.py")
        self._printed = TemporaryFile()  # noqa: SIM115  # as long as the process
        self._cpu_s = 0.0
        self._process = subprocess.Popen(
            [python, str(script), str(source), backend, str(n_threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        try:
            self._ask(["a"], OPENS_S)
        except RuntimeError:
            self.close()
            raise

    def __call__(self, text: str) -> NDArray[np.float32]:
        """The vector of a text."""
        vector: NDArray[np.float32] = self.encode([text])[0]
        return vector

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of several items, as the library batches them: [n, dim], of length 1.

        Raises:
            RuntimeError: it ended, or did not answer in time and was killed.
        """
        return self._ask(items, ANSWERS_S)

    def _ask(self, items: Sequence[str], within_s: float) -> NDArray[np.float32]:
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(list(items)) + "\n")
            self._process.stdin.flush()
        if not select([self._process.stdout], [], [], within_s)[0]:
            self._process.kill()
            raise RuntimeError(f"did not answer within {within_s:g} s")
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"ended with {self._process.wait()}: {self._last_words()}")
        vectors = np.array(json.loads(answer), np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _last_words(self) -> str:
        """The last error that it printed, or else its last line; prints all to standard error."""
        self._printed.seek(0)
        printed = self._printed.read().decode(errors="replace").strip()
        print(printed, file=sys.stderr, flush=True)
        errors = _ERROR.findall(printed.partition("Exception ignored in")[0])
        return errors[-1] if errors else printed.rpartition("\n")[2] or "it printed nothing"

    def cpu_s(self) -> float:
        """CPU-seconds that its process has used."""
        with suppress(OSError):  # it has ended
            self._cpu_s = time.clock_gettime(~self._process.pid << 3 | 2)  # another process's clock
        return self._cpu_s

    def close(self) -> None:
        """End the process; threads that a library leaves behind do not keep it alive."""
        try:
            self._process.communicate(timeout=_ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._printed.close()


@contextmanager
def peers(
    source: Path, n_threads: int, pythons: Mapping[str, str] | None = None
) -> Iterator[tuple[Mapping[str, Peer], Mapping[str, str]]]:
    """The peers that opened, and why the others did not.

    Args:
        source: the folder of a model.
        n_threads: cores of each; 0 for no peers.
        pythons: by back-end, the Python of its environment; by default the one that ``PEERS`` names
            for all `BACKENDS`.
    """
    opened: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    if pythons is None:
        python = os.environ.get("PEERS")
        pythons = dict.fromkeys(BACKENDS, python) if python else {}
    try:
        for backend, python in pythons.items() if n_threads else ():
            try:
                opened[backend] = Peer(python, for_optimum(source), backend, n_threads)
            except RuntimeError as error:
                missing[backend] = str(error)
        yield opened, missing
    finally:
        for peer in opened.values():
            peer.close()


def cpu_s(others: Iterable[Peer]) -> float:
    """CPU-seconds of this process and of theirs."""
    return time.process_time() + sum(peer.cpu_s() for peer in others)


def versions(pythons: Iterable[str]) -> list[str]:
    """The versions of the relevant libraries in each environment, without missing environments."""
    ask = (
        "from importlib.metadata import distributions as all;"
        f"names = {_LIBRARIES};"
        "found = {one.metadata['Name'].replace('_', '-'): one.version for one in all()};"
        "print(', '.join(f'{name} {found[name]}' for name in names if name in found))"
    )
    ran = [
        subprocess.run([python, "-c", ask], stdout=subprocess.PIPE, text=True, check=True)
        for python in sorted(pythons)
        if shutil.which(python)
    ]
    return [one.stdout.strip() for one in ran]
