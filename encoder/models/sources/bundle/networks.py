"""The bundle's networks as files, and the precisions and gates that they come in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoder.models.precision import Network, Precision
from encoder.models.sources.bundle.gates import CHUNKS, TEXT_GATE
from encoder.models.sources.bundle.int8 import int8_identity
from encoder.models.sparsity import Gates, Sparsity, Wish

if TYPE_CHECKING:
    from encoder.runtime.trial import Inputs

SPEC = "bundle:default"
TOWERS = ("text", "image", "audio")

FLOAT, INT8 = "model.onnx", "model.int8.onnx"
"""Files of a part; a part without the second runs in float32 always."""

_ON_OPENVINO = ("image",)
"""The text network is made of ONNX Runtime's operators, which OpenVINO does not compute alike."""

_SIDE_BY_SIDE = ("text", "image")
"""Parts of which several items are several runs; a sound is one, of blocks."""

_ONE_THREAD_TOKENS = 96
"""In int8 on two cores: 13 tokens take 1.7 ms in one thread and 1.9 in two, 64 take 4.0 and 4.3,
128 take 6.7 and 5.7. In float32 a second thread helps from 32 on."""


def network(folder: Path, part: str) -> Network:
    """The network of a part of the bundle in ``folder``."""
    int8 = folder / part / INT8
    return Network(
        part,
        folder / part / FLOAT,
        int8 if int8.exists() else None,
        sha256=partial(_known_hash, int8),
        examples=partial(_examples, part),
        side_by_side=part in _SIDE_BY_SIDE,
        one_thread_tokens=_ONE_THREAD_TOKENS if part == "text" else 0,
        on_openvino=part in _ON_OPENVINO,
    )


def parse_precision(quantization: str | None) -> Precision:
    """The precision of the bundle's networks; see `Precision.parse`."""
    return Precision.parse(quantization, model=SPEC, towers=TOWERS, int8_identity=int8_identity())


def parse_sparsity(wish: Wish, precision: Precision) -> Sparsity | None:
    """The gate of the bundle's text network; see `Sparsity.parse`."""
    return Sparsity.parse(wish, precision, Gates(TEXT_GATE, CHUNKS))


def _known_hash(path: Path) -> str:
    """The hash that the part's manifest tells; reading the file again would take longer."""
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
