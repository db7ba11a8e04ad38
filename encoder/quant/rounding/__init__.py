"""Rounding weights to integer codes. Importing this imports torch."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from encoder.errors import InputError
from encoder.quant.rounding.base import Rounding
from encoder.quant.rounding.collect import grams
from encoder.quant.rounding.gptq import gptq
from encoder.quant.rounding.gram import Gram
from encoder.quant.rounding.hqq import hqq
from encoder.quant.rounding.rtn import rtn, rtn_mse
from encoder.quant.schemes import Scheme
from encoder.quant.weights import Rounded

__all__ = ["METHODS", "Gram", "Method", "Rounding", "grams", "round_rows"]

Method = Literal["gptq", "hqq", "mse", "rtn"]

METHODS: dict[str, Rounding] = {"gptq": gptq, "hqq": hqq, "mse": rtn_mse, "rtn": rtn}
"""The methods by name; ``mse`` is round-to-nearest with scales of least squared error."""


def round_rows(
    rows: Tensor, scheme: Scheme, gram: Gram | None = None, method: str = "gptq"
) -> Rounded:
    """Round a weight's rows.

    Args:
        rows: float32 [n_rows, n_columns].
        scheme: an integer scheme whose group divides the rows.
        gram: of the layer's inputs; without one, ``gptq`` falls back to ``hqq``.
        method: see `METHODS`.

    Raises:
        InputError: an unknown method, a float scheme, a group that does not divide the rows.
    """
    if method not in METHODS:
        raise InputError("rounding", got=repr(method), wanted=", ".join(METHODS))
    return METHODS[method](rows, scheme, gram)
