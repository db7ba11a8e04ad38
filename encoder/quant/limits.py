"""What a quantized model must keep to: a size as people write it, and what a runtime takes. Pure.

Sources of the runtimes' rules, as read in 2026: TensorRT 11.3, "Working with Quantized Types", and
of its 10.x "Weight-Only Quantization"; ONNX's types of DequantizeLinear (opset 21) and Gather;
OpenVINO's page "Weight compression" (8 bits for all layers, 4 bits for matrix products and
look-ups).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from encoder.errors import InputError
from encoder.quant.schemes import Scheme

TENSORRT_BLOCKS = (128, 64)
"""Block sizes of INT4, largest first."""

_LEAST_BITS = 3
"""Of the narrowest scheme."""
_UNITS = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_ROUNDING = 1e-6
"""As a share of a byte: what binary fractions such as 4.6 bits can lose."""
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_FORMS: tuple[tuple[str, Callable[[int, re.Match[str]], float]], ...] = (
    (rf"{_NUMBER}/{_NUMBER}", lambda whole, m: whole * float(m[1]) / float(m[2])),
    (rf"{_NUMBER}%", lambda whole, m: whole * float(m[1]) / 100),
    (rf"{_NUMBER}[x×]", lambda whole, m: whole / float(m[1])),
    (rf"{_NUMBER} ?([kmg]?i?b)", lambda _, m: float(m[1]) * _UNITS[m[2]]),
    (r"(0?\.\d+)", lambda whole, m: whole * float(m[1])),
    (r"(\d+)", lambda _, m: float(m[1])),
)


def parse_budget(
    budget: str | int | float | None = None, *, fp32_nbytes: int, bits: float | None = None
) -> int:
    """The bytes that the whole model may take: norms, biases and buffers count as well.

    Args:
        budget: ``"1/8"``, ``"12.5%"``, ``"8x"`` or a float below 1 are of ``fp32_nbytes``;
            ``"12MB"``, ``"12 MiB"`` or an integer are bytes.
        fp32_nbytes: of the whole model before quantization.
        bits: instead of ``budget``, the average over all values of the model, up to 32.

    Raises:
        InputError: neither or both are given, or the budget is not above 0 or cannot be parsed.

    >>> parse_budget("1/8", fp32_nbytes=800), parse_budget(bits=4.6, fp32_nbytes=3200)
    (100, 460)
    >>> parse_budget("1.5 kB", fp32_nbytes=3200)
    1500
    """
    if (budget is None) == (bits is None):
        raise InputError(
            "budget", got=f"budget={budget!r}, bits={bits!r}", wanted="exactly one of them"
        )
    if bits is not None and not (isinstance(bits, int | float) and _LEAST_BITS <= bits <= 32):
        raise InputError(
            "bits", got=repr(bits), wanted=f"a number from {_LEAST_BITS} to 32, an FP32's"
        )
    nbytes = fp32_nbytes * bits / 32 if bits is not None else _read(budget, fp32_nbytes)
    if nbytes is None or not 1 <= nbytes < float("inf"):
        raise InputError(
            "bits" if budget is None else "budget",
            got=repr(bits if budget is None else budget),
            wanted='a size such as "1/8", "8x", "12.5%", "12MB" or bytes',
        )
    return int(nbytes + _ROUNDING)


def check_limits(config: object, limits: Mapping[str, object]) -> None:
    """Refuse limits that contradict each other; see `Quantizer.apply`.

    Raises:
        InputError: more than one limit, or one that does not fit the rest.
    """
    names = [name for name, value in limits.items() if value is not None]
    if len(names) > 1 or (names and config != "auto"):
        raise InputError(
            "apply",
            got=", ".join([f"config={config!r}"] * (config != "auto") + names),
            wanted='config="auto" with at most one of budget, bits and max_loss',
        )


def _read(budget: str | int | float | None, fp32_nbytes: int) -> float | None:
    if isinstance(budget, str):
        text = budget.strip().lower()
        for form, size in _FORMS:
            if matched := re.fullmatch(form, text):
                try:
                    return size(fp32_nbytes, matched)
                except ZeroDivisionError:
                    return None
        return None
    if isinstance(budget, float) and budget < 1:
        return budget * fp32_nbytes
    return budget


Target = Literal["onnxruntime", "tensorrt", "openvino"]

_LAYERS_OF_4_BITS = ("linear", "embedding")
_WITHOUT_INTEGERS = ("recurrent", "bilinear")


def check_target(target: str | None) -> None:
    """Check the name of a target.

    Raises:
        InputError: an unknown name.
    """
    if target is not None and target not in get_args(Target):
        raise InputError("target", got=repr(target), wanted=", ".join(get_args(Target)))


def takes(
    target: str, scheme: Scheme, operation: str, n_columns: int, n_groups: int = 1
) -> str | None:
    """Why a runtime does not take a layer in a scheme as it is; None if it does.

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
    if target == "tensorrt":
        return tensorrt(scheme, operation, n_columns, n_groups)
    if target == "openvino" and scheme.bits == 4 and operation not in _LAYERS_OF_4_BITS:
        return f"INT4 is for linear layers and embeddings, not {_named(operation, n_groups)}"
    return None  # ONNX Runtime dequantizes weights without a kernel


def tensorrt(scheme: Scheme, operation: str, n_columns: int, n_groups: int) -> str | None:
    """INT8 per channel for documented layers; INT4 in blocks, for matrix products only."""
    if operation == "conv":
        n_groups = 1  # are no matter
    if operation in _WITHOUT_INTEGERS or n_groups > 1:
        return f"INT{scheme.bits} is not documented for {_named(operation, n_groups)}"
    if scheme.bits > 4:
        return "INT8 takes one scale per channel, not groups" if scheme.group else None
    if operation != "linear":
        return f"INT{scheme.bits} is for linear layers only, not {operation}"
    if scheme.group and scheme.group not in TENSORRT_BLOCKS:
        return f"INT{scheme.bits} blocks must be 64 or 128, not {scheme.group}"
    if n_columns % (scheme.group or min(TENSORRT_BLOCKS)):
        return f"{n_columns} columns do not divide into INT4 blocks of {scheme.group or 64}"
    return None


def _named(operation: str, n_groups: int) -> str:
    return f"{operation} layers" + (f" of {n_groups} groups" if n_groups > 1 else "")
