"""Bars with intervals as SVG, for self-contained reports. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

_LEFT, _WIDTH, _ROW = 290, 420, 26
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Bar(NamedTuple):
    """A value from 0 to 1 with its interval."""

    name: str
    value: float
    low: float
    high: float


def plot(title: str, bars: Sequence[Bar]) -> str:
    """An SVG picture, one row for each bar."""
    height = _ROW * (len(bars) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 70} {height}" '
        f'width="{_LEFT + _WIDTH + 70}" font-family="system-ui" font-size="13" role="img">',
        f"<title>{html.escape(title)}</title>",
    ]
    for tick in _TICKS:
        x, bottom = _x(tick), height - _ROW
        parts.append(f'<path d="M{x} 6V{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    for row_number, bar in enumerate(bars):
        parts.append(_row(bar, 8 + _ROW * row_number))
    return "".join([*parts, "</svg>"])


def _row(bar: Bar, top: float) -> str:
    middle, low, high = top + _ROW / 2 - 4, _x(bar.low), _x(bar.high)
    name = bar.name if len(bar.name) <= 44 else f"{bar.name[:43]}…"
    return (
        f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{html.escape(name)}</text>'
        f'<rect x="{_LEFT}" y="{top}" width="{_x(bar.value) - _LEFT:.1f}" height="{_ROW - 8}" '
        'fill="#4393c3"/>'
        f'<path d="M{low} {middle}H{high}M{low} {middle - 4}v8M{high} {middle - 4}v8" '
        'stroke="#222" fill="none"/>'
        f'<text x="{_LEFT + _WIDTH + 8}" y="{middle + 4}">{bar.value:.3f}</text>'
    )


def _x(value: float) -> float:
    return round(_LEFT + _WIDTH * min(max(value, 0.0), 1.0), 1)
