"""In which precision the bundle's networks run, and which runtime runs them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoder.errors import ModelError
from encoder.models.bundle import machine_cache
from encoder.models.prepare import AUDIO_FLOAT, AUDIO_RANGES, IMAGE_RANGES, TEXT_INT8_RECIPE
from encoder.runtime.side_by_side import SideBySide

if TYPE_CHECKING:
    from encoder.runtime.base import Session
    from encoder.runtime.trial import Factory, Inputs

FLOAT, INT8 = "model.onnx", "model.int8.onnx"
"""Files of a part; a part without the second runs in float32 always."""

_TOWERS = ("text", "image", "audio")
_ON_OPENVINO = ("image",)
"""The text network is made of ONNX Runtime's operators, which OpenVINO does not compute alike."""

_SIDE_BY_SIDE = ("text", "image")
"""Parts of which several items are several runs; a sound is one, of blocks. On ONNX Runtime only:
OpenVINO has one stream, in which runs go one after the other."""

_ONE_THREAD_TOKENS = 96
"""In int8 on two cores: 13 tokens take 1.7 ms in one thread and 1.9 in two, 64 take 4.0 and 4.3,
128 take 6.7 and 5.7. In float32 a second thread helps from 32 on."""

_EXACT = {"session.disable_quant_qdq": "1"}
"""Else ONNX Runtime may round activations too, and no longer computes what was measured."""


@dataclass(frozen=True)
class Precision:
    """What ``quantization=`` asks for.

    Args:
        int8: whether to run the parts' int8 files.
        trial: whether a trial may give them to another runtime than ONNX Runtime. It changes
            who computes, not what.
        folders: quantized towers that stand in for the bundle's, by name.
        identity: what of this changes a vector; empty if nothing does.
    """

    int8: bool = False
    trial: bool = False
    folders: Mapping[str, Path] = field(default_factory=dict)
    identity: str = ""

    @classmethod
    def parse(cls, quantization: str | None) -> Precision:
        """Read None, ``int8``, ``auto`` or a folder that ``anymodal quantize`` wrote.

        Raises:
            ModelError: it is none of these, or the folder is damaged.
        """
        if quantization is None:
            return cls()
        if quantization in ("int8", "auto"):
            return cls(int8=True, trial=quantization == "auto", identity=_int8_identity())
        folder = Path(quantization).expanduser()
        if not folder.is_dir():
            raise ModelError(
                f"quantization={quantization!r} is neither a known setting nor a folder.",
                remedy='Use "int8", "auto", None, or a folder made by `anymodal quantize`.',
            )
        tower, sha256 = _checked(folder)
        return cls(folders={tower: folder}, identity=f"{tower} sha256:{sha256}")

    def open(self, bundle: Path, part: str, n_threads: int | None) -> Session:
        """Open the network of a part of the bundle that lies in ``bundle``.

        Raises:
            ModelError: it cannot be run.
        """
        if part in self.folders:
            return _on_onnxruntime(self.folders[part] / FLOAT, part, n_threads, _EXACT)
        int8 = bundle / part / INT8
        if not (self.int8 and int8.exists()):
            return _on_onnxruntime(bundle / part / FLOAT, part, n_threads)
        if not self.trial:
            return _on_onnxruntime(int8, part, n_threads)
        return _fastest(int8, part, n_threads)


def _on_onnxruntime(
    path: Path, part: str, n_threads: int | None, settings: Mapping[str, str] | None = None
) -> Session:
    open_with = partial(open_shared, path, settings=settings)
    if part not in _SIDE_BY_SIDE:
        return open_with(n_threads)
    is_int8_text = part == "text" and path.name == INT8
    return side_by_side(open_with, n_threads, _ONE_THREAD_TOKENS if is_int8_text else 0)


def side_by_side(
    open_with: Callable[[int | None], Session], n_threads: int | None, small: int = 0
) -> Session:
    """A session for single runs and for several, see `SideBySide`; with one thread a plain one."""
    most = n_threads or os.cpu_count() or 1
    many = open_with(n_threads)
    return many if most == 1 else SideBySide(open_with(1), many, most, small)


def open_shared(
    path: Path, n_threads: int | None, settings: Mapping[str, str] | None = None
) -> Session:
    """Open a network of whose weights this machine's processes hold one copy.

    Raises:
        ModelError: it cannot be run.
    """
    from encoder.runtime.onnx import OnnxSession

    return OnnxSession(
        path, n_threads=n_threads, settings=settings, shared_in=machine_cache() / "shared"
    )


def _int8_identity() -> str:
    """What decides the numbers of each tower in int8."""
    image = hashlib.sha256(IMAGE_RANGES.read_bytes())
    audio = hashlib.sha256(" ".join(AUDIO_FLOAT).encode() + AUDIO_RANGES.read_bytes())
    ranges = f"image-ranges:{image.hexdigest()[:16]} audio-ranges:{audio.hexdigest()[:16]}"
    return f"int8 text:{TEXT_INT8_RECIPE} {ranges}"


def _checked(folder: Path) -> tuple[str, str]:
    """Which tower a folder holds, and the hash of its network."""
    from encoder.models.quantized_tower import ONNX, read_manifest
    from encoder.models.wheels import sha256_of

    manifest = read_manifest(folder)
    network = folder / ONNX
    if not network.is_file() or sha256_of(network) != manifest["sha256"]:
        raise ModelError(
            f"{network} is missing, or not what {folder / 'manifest.json'} tells of.",
            remedy="Make the folder again with `anymodal quantize`.",
        )
    if manifest["model"] != "bundle:default" or manifest["tower"] not in _TOWERS:
        raise ModelError(
            f"{folder} holds the {manifest['tower']} tower of {manifest['model']}.",
            remedy="Towers of bundle:default can be replaced: text, image and audio.",
        )
    return manifest["tower"], manifest["sha256"]


def _fastest(path: Path, part: str, n_threads: int | None) -> Session:
    import onnxruntime

    from encoder.runtime import openvino
    from encoder.runtime.trial import cpu_model, fastest_session

    candidates: dict[str, Factory] = {
        "onnxruntime": partial(_on_onnxruntime, path, part, n_threads)
    }
    facts = {
        "network": _known_hash(path),
        "cpu": cpu_model(),
        "threads": str(n_threads),
        "onnxruntime": onnxruntime.__version__,
    }
    if part in _ON_OPENVINO and openvino.is_installed():
        candidates["openvino"] = partial(openvino.OpenVinoSession, path, n_threads=n_threads)
        facts["openvino"] = openvino.version()
    return fastest_session(
        candidates, _examples(part), facts=facts, memory=machine_cache() / "runtimes.json"
    )


def _known_hash(path: Path) -> str:
    """The hash that the bundle's manifest tells; reading the file again would take longer."""
    manifest = json.loads((path.parent / "manifest.json").read_text("utf-8"))
    return str(manifest["files"][path.name]["sha256"])


def _examples(part: str) -> Sequence[Inputs]:
    """Typical inputs: a short and a long text, a sound of 7 s, or a picture."""
    rng = np.random.default_rng(0)
    if part == "text":
        return [
            {
                "input_ids": rng.integers(1000, 20000, (1, length)),
                "mask": np.ones((1, length), np.float32),
            }
            for length in (32, 128)
        ]
    if part == "audio":
        return [{"blocks": rng.random((3, 100, 96), np.float32)}]
    from encoder.towers.image import SIDE

    return [{"pixels": rng.uniform(-1, 1, (1, 3, SIDE, SIDE)).astype(np.float32)}]
