"""Which quantized weights each runtime takes, so that nothing else is chosen for it. Pure.

Sources, as read in 2026: for TensorRT see `encoder.quant.export.tensorrt`; ONNX's types of
DequantizeLinear (opset 21) and Gather; OpenVINO's page "Weight compression" (8 bits for all layers,
4 bits for matrix products and look-ups).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from encoder.errors import InputError
from encoder.quant.schemes import Scheme

Target = Literal["onnxruntime", "tensorrt", "openvino"]

TENSORRT_BLOCKS = (128, 64)
"""Block sizes of INT4, largest first."""
_LAYERS_OF_4_BITS = ("linear", "embedding")
_WITHOUT_INTEGERS = ("recurrent", "bilinear")


def check_target(target: str | None) -> None:
    """Check the name of a target.

    Raises:
        InputError: an unknown name.
    """
    if target is not None and target not in get_args(Target):
        raise InputError("target", got=repr(target), wanted=", ".join(get_args(Target)))


def takes(target: str, scheme: Scheme, kind: str, n_columns: int, n_groups: int = 1) -> str | None:
    """Why a runtime does not take a layer in a scheme as it is; None if it does.

    Args:
        target: see `Target`.
        scheme: of the layer.
        kind: of the layer, see `encoder.quant.layers.KINDS`.
        n_columns: of the layer, seen as rows.
        n_groups: of a transposed convolution.

    >>> takes("tensorrt", Scheme(4), "conv", 288)
    'INT4 is for linear layers only, not conv'
    >>> takes("openvino", Scheme(8), "conv", 288) is None
    True
    """
    if not scheme.is_integer:
        return None
    if scheme.bits not in (4, 8):
        wider = 4 if scheme.bits < 4 else 8
        return f"there is no INT{scheme.bits}: it would be stored as INT{wider}"
    return RULES[target](scheme, kind, n_columns, n_groups)


def tensorrt(scheme: Scheme, kind: str, n_columns: int, n_groups: int) -> str | None:
    """INT8 per channel for documented layers; INT4 in blocks, for matrix products only."""
    if kind in _WITHOUT_INTEGERS or n_groups > 1:
        return f"INT{scheme.bits} is not documented for {_named(kind, n_groups)}"
    if scheme.bits > 4:
        return "INT8 takes one scale per channel, not groups" if scheme.group else None
    if kind != "linear":
        return f"INT{scheme.bits} is for linear layers only, not {kind}"
    if scheme.group and scheme.group not in TENSORRT_BLOCKS:
        return f"INT{scheme.bits} blocks must be 64 or 128, not {scheme.group}"
    if n_columns % (scheme.group or min(TENSORRT_BLOCKS)):
        return f"{n_columns} columns do not divide into INT4 blocks of {scheme.group or 64}"
    return None


def _onnxruntime(_scheme: Scheme, _kind: str, _n_columns: int, _n_groups: int) -> str | None:
    """Takes everything: weights without a kernel are dequantized."""
    return None


def _openvino(scheme: Scheme, kind: str, _n_columns: int, n_groups: int) -> str | None:
    if scheme.bits == 4 and kind not in _LAYERS_OF_4_BITS:
        return f"INT4 is for linear layers and embeddings, not {_named(kind, n_groups)}"
    return None


RULES: Mapping[str, Callable[[Scheme, str, int, int], str | None]] = {
    "onnxruntime": _onnxruntime,
    "tensorrt": tensorrt,
    "openvino": _openvino,
}


def _named(kind: str, n_groups: int) -> str:
    return f"{kind} layers" + (f" of {n_groups} groups" if n_groups > 1 else "")
