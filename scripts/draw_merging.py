"""Draw which tokens of a paragraph the bundle's gate merges: ``docs/merging.svg``.

    python -m scripts.draw_merging

Run it again when the gate has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.gatefile import GateFile
from encoder.dsre.trace import trace
from encoder.models.sources.bundle.declaration import read_bundle
from encoder.models.sources.bundle.folder import fetch
from encoder.models.sources.bundle.gates import TEXT_GATE
from encoder.networks.bert import load_sentence_bert
from encoder.towers.text.tower import load_tokenizer

TARGET = Path(__file__).parents[1] / "docs" / "merging.svg"
PARAGRAPH = """The tide is the rise and fall of the sea that the moon and the sun cause. Twice a
day the water comes in over the sand, and twice a day the water goes out again; the sailors of the
old harbour know the hours by heart. When sun and moon stand in one line, the tide is a spring
tide: the sea rises higher than on other days, and it falls lower than on other days. When they
stand at a right angle, the tide is a neap tide, and the sea hardly moves. In a narrow bay the
water has nowhere to go, so it piles up: at the head of the Bay of Fundy the tide rises by sixteen
metres, as high as a house of five floors. A mill by the sea can use it. The mill keeps the water
that comes in behind a gate, and lets the water out over the wheel when the tide has gone out."""

_COLOURS = (
    "#f4b6b6", "#b6d7f4", "#c5e8b7", "#f7dfa5", "#d9c2f0", "#a9e5dc",
    "#f6c9e0", "#d5d9a6", "#c2c8f2", "#f2cdb0", "#b9dccb", "#e0c8c0",
)  # fmt: skip
_CHAR, _LINE, _WIDTH, _MARGIN = 8.4, 27.0, 860.0, 14.0


def main() -> None:
    folder = fetch(read_bundle("english")) / "text"
    encoding = load_tokenizer(folder / "tokenizer.json").encode(PARAGRAPH)
    places = trace(load_sentence_bert(folder), GateFile.load(TEXT_GATE), encoding.ids)
    kept = [len(set(row)) for row in places.tolist()]
    TARGET.write_text(draw(encoding.tokens, places[-1], kept), "utf-8")
    print(f"{TARGET}: {kept[0]} tokens, after each layer {kept}")


def draw(tokens: Sequence[str], places: NDArray[np.int64], kept: Sequence[int]) -> str:
    """An SVG: tokens in text order; those of one colour and number have become one.

    Args:
        tokens: word pieces; ``##`` continues a word.
        places: of what stands for each token in the end, [n_tokens].
        kept: how many are left after each layer.
    """
    sizes = Counter(places.tolist())
    shared = [place for place in dict.fromkeys(places.tolist()) if sizes[place] > 1]
    number = {place: i + 1 for i, place in enumerate(shared)}
    x, y = _MARGIN, _MARGIN
    shapes = []
    for token, place in zip(tokens, places.tolist(), strict=True):
        said = token.removeprefix("##")
        width = (len(said) + 0.8) * _CHAR + (14 if place in number else 0)
        if x + width > _WIDTH - _MARGIN:
            x, y = _MARGIN, y + _LINE
        shapes.append(_box(x, y, width, said, number.get(place)))
        x += width + 3
    steps = " → ".join(str(n) for n, after in pairwise([*kept, -1]) if n != after)
    y += _LINE + 18
    shapes.append(
        f'<text x="{_MARGIN}" y="{y}" class="s">{steps} tokens from layer to layer; one colour and '
        "number: merged into one</text>"
    )
    return _SVG.format(width=_WIDTH, height=y + _MARGIN, shapes="\n".join(shapes))


def _box(x: float, y: float, width: float, said: str, number: int | None) -> str:
    fill = _COLOURS[(number - 1) % len(_COLOURS)] if number else "none"
    box = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="22" rx="4" fill="{fill}"/>'
    word = f'<text x="{x + 3:.1f}" y="{y + 15.5:.1f}">{escape(said)}</text>'
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

if __name__ == "__main__":
    main()
