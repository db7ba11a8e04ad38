"""Limits on what a file may cost, checked on header facts and again while decoding."""

from __future__ import annotations

from encoder.errors import MediaLimitError
from ingest.config import IngestConfig


def check(uri: str, limit: str, value: float, config: IngestConfig) -> None:
    """Raise unless ``value`` is within the field ``limit`` of the config.

    Args:
        uri: which file.
        limit: the field's name, such as ``"max_pixels"``; its last part is the unit.
        value: what the file has.

    Raises:
        MediaLimitError: names the file, the value, the limit and how to raise it.

    >>> check("a.png", "max_pixels", 100, IngestConfig())
    """
    allowed = getattr(config, limit)
    if value > allowed:
        unit = limit.rsplit("_", 1)[1]
        is_setting = limit in IngestConfig.settable()
        variable = f" or {IngestConfig.variable(limit)}" if is_setting else " in Python"
        raise MediaLimitError(
            f"{uri} has {_count(value, unit)}; {limit} is {_count(allowed, unit)}.",
            remedy=f"Split it, or raise IngestConfig.{limit}{variable}.",
        )


def _count(value: float, unit: str) -> str:
    return f"{value:,.0f} {'characters' if unit == 'chars' else unit}"
