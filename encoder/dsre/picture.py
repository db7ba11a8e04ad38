"""Pictures that show which tokens of a text a gate merges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_COLOURS = (
    "#f4b6b6", "#b6d7f4", "#c5e8b7", "#f7dfa5", "#d9c2f0", "#a9e5dc",
    "#f6c9e0", "#d5d9a6", "#c2c8f2", "#f2cdb0", "#b9dccb", "#e0c8c0",
)  # fmt: skip
_CHAR, _LINE, _WIDTH, _MARGIN = 8.4, 27.0, 860.0, 14.0


def draw(tokens: Sequence[str], places: NDArray[np.int64], n_left: Sequence[int]) -> str:
    """An SVG: tokens in text order; those with the same colour and number have become one.

    Args:
        tokens: word pieces; ``##`` continues a word, or ``▁`` or ``Ġ`` begins one.
        places: the place of the token that each token ends up in, [n_tokens].
        n_left: how many tokens are left after each layer.
    """
    sizes = Counter(places.tolist())
    shared = [position for position in dict.fromkeys(places.tolist()) if sizes[position] > 1]
    number = {position: i + 1 for i, position in enumerate(shared)}
    x, y = _MARGIN, _MARGIN
    shapes = []
    for token, position in zip(tokens, places.tolist(), strict=True):
        label = _plain(token)
        width = (len(label) + 0.8) * _CHAR + (14 if position in number else 0)
        if x + width > _WIDTH - _MARGIN:
            x, y = _MARGIN, y + _LINE
        shapes.append(_box(x, y, width, label, number.get(position)))
        x += width + 3
    steps = " → ".join(str(n) for n, after in pairwise([*n_left, -1]) if n != after)
    y += _LINE + 18
    shapes.append(
        f'<text x="{_MARGIN}" y="{y}" class="s">{steps} tokens from layer to layer; one colour and '
        "number: merged into one</text>"
    )
    return _SVG.format(width=_WIDTH, height=y + _MARGIN, shapes="\n".join(shapes))


def page(tokens: Sequence[str], places: NDArray[np.int64], title: str) -> str:
    """An HTML page without scripts: how many tokens each layer has, and which have become one.

    Args:
        tokens: see `draw`.
        places: after each layer, [n_layers, n_tokens], see `encoder.dsre.trace.trace`.
        title: the page's title; it is escaped here.
    """
    n_left = [len(set(row)) for row in places.tolist()]
    bars = "".join(
        f"<tr><td>{layer}<td>{n}<td><div style='width:{100 * n / len(tokens):.1f}%'></div>"
        for layer, n in enumerate(n_left, 1)
    )
    changed = [i for i, n in enumerate(n_left) if n != (n_left[i - 1] if i else len(tokens))]
    drawn = "".join(
        f"<details{' open' if i == changed[-1] else ''}><summary>after layer {i + 1}: {n_left[i]} "
        f"tokens</summary>{draw(tokens, places[i], [len(tokens), *n_left[: i + 1]])}</details>"
        for i in changed
    )
    return _PAGE.format(title=escape(title), bars=bars, drawn=drawn or _NOTHING)


def _plain(token: str) -> str:
    return token.removeprefix("##").lstrip("▁Ġ") or token


def _box(x: float, y: float, width: float, label: str, number: int | None) -> str:
    fill = _COLOURS[(number - 1) % len(_COLOURS)] if number else "none"
    box = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="22" rx="4" fill="{fill}"/>'
    word = f'<text x="{x + 3:.1f}" y="{y + 15.5:.1f}">{escape(label)}</text>'
    if number is None:
        return box + word
    at = x + width - 3
    return box + word + f'<text x="{at:.1f}" y="{y + 9:.1f}" class="n">{number}</text>'


_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}">
<style>
text {{ font: 14px monospace; fill: #222; }}
.n {{ font-size: 8px; text-anchor: end; fill: #555; }}
.s {{ font-style: italic; fill: #555; }}
rect {{ stroke: #ccc; stroke-width: 0.6; }}
</style>
<rect width="100%" height="100%" fill="#fff" stroke="none"/>
{shapes}
</svg>
"""
_NOTHING = "<p>No tokens were merged: the text is too short for the gate, or all tokens differ.</p>"
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px sans-serif; margin: 2em; max-width: 62em; color: #222; background: #fff; }}
td {{ padding: 1px 8px; }}
td:last-child {{ width: 40em; }}
td div {{ background: #7aa6d8; height: 12px; }}
</style>
<h1>{title}</h1>
<table><tr><th>layer<th>tokens<th></tr>{bars}</table>
{drawn}
</html>
"""
