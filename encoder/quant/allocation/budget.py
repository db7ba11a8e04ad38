"""Sizes as people write them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from encoder.errors import InputError

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
        bits: instead of ``budget``, the average over all values of the model.

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
    nbytes = fp32_nbytes * bits / 32 if bits is not None else _read(budget, fp32_nbytes)
    if nbytes is None or not 1 <= nbytes < float("inf"):
        raise InputError(
            "bits" if budget is None else "budget",
            got=repr(bits if budget is None else budget),
            wanted='a size such as "1/8", "8x", "12.5%", "12MB" or bytes; or bits above 0',
        )
    return int(nbytes + _ROUNDING)


def check_limits(
    config: object, limits: Mapping[str, object], target: str | None = None, *, short: bool = False
) -> None:
    """Refuse limits that contradict each other; see `Quantizer.apply`.

    Args:
        config: only ``auto`` takes a limit.
        limits: by name; None for one that is not given.
        target: the runtime that the model is for.
        short: whether the limit is for a file of short codes.

    Raises:
        InputError: more than one limit, or one that does not fit the rest.
    """
    given = [name for name, value in limits.items() if value is not None]
    if len(given) > 1 or (given and config != "auto"):
        raise InputError(
            "apply",
            got=", ".join([f"config={config!r}"] * (config != "auto") + given),
            wanted='config="auto" with at most one of budget, bits and max_loss',
        )
    if short and (target or not {"budget", "bits"} & set(given)):
        got = f"target={target!r}" if target else ", ".join(given) or f"config={config!r} alone"
        raise InputError("short", got=got, wanted="budget or bits, and no target")


def _read(budget: str | int | float | None, fp32_nbytes: int) -> float | None:
    if isinstance(budget, str):
        text = budget.strip().lower()
        for form, size in _FORMS:
            if found := re.fullmatch(form, text):
                try:
                    return size(fp32_nbytes, found)
                except ZeroDivisionError:
                    return None
        return None
    if isinstance(budget, float) and budget < 1:
        return budget * fp32_nbytes
    return budget
