"""Precision as a pass over exported graphs."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from encoder.errors import ModelError
from encoder.runtime import openvino, trial

_WEIGHT_BITS: Mapping[str, Literal[4, 8]] = {"int8": 8, "int4": 4}


_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""CPU flags of bf16 multiplication, on x86 and on ARM."""


def check_precision(name: str, precision: str | None) -> None:
    """Raise `ModelError` unless this precision is available for graphs on this machine."""
    if precision == "bf16":
        _check_bf16(name)
    elif precision is not None and precision not in _WEIGHT_BITS:
        raise ModelError(
            f"{name}: {precision!r} is not a precision of a graph.",
            remedy='Use None, "bf16", "int8" or "int4".',
        )


def _check_bf16(name: str) -> None:
    """ONNX Runtime has no bf16 on x86; OpenVINO computes float32 graphs in it."""
    if not openvino.is_installed():
        raise ModelError(
            f"{name} in bf16 runs on OpenVINO, which is not installed.",
            remedy="Install it: pip install 'anymodal[openvino]'; or use quantization=\"int8\".",
        )
    if not _BF16_FLAGS & set(trial.instruction_sets().split()):
        raise ModelError(
            f"{name} in bf16: this processor does not support it.",
            remedy='Use quantization="int8".',
        )


def apply_precision(source: Path, target: Path, graphs: Iterable[str], precision: str) -> None:
    """Write quantized forms of the graphs in ``source`` to ``target``, then remove ``source``.

    Sounds and pictures take the same form as texts: activations in int8 with a scale for each
    row, which keeps more of the cosine than fixed ranges do and needs no samples to set them.

    Raises:
        ModelError: a graph has no linear layer.
    """
    from encoder.onnx.quantize import quantize_linears

    for graph in graphs:
        quantize_linears(source / graph, target / graph, weight_bits=_WEIGHT_BITS[precision])
    shutil.rmtree(source)
