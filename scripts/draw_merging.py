"""Draw which tokens of a paragraph the bundle's gate merges: ``docs/merging.svg``.

    python -m scripts.draw_merging

Run it again when the gate has changed.
"""

from __future__ import annotations

from pathlib import Path

from encoder.dsre.gatefile import GateFile
from encoder.dsre.picture import draw
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


def main() -> None:
    folder = fetch(read_bundle("english")) / "text"
    encoding = load_tokenizer(folder / "tokenizer.json").encode(PARAGRAPH)
    places = trace(load_sentence_bert(folder), GateFile.load(TEXT_GATE), encoding.ids)
    kept = [len(set(row)) for row in places.tolist()]
    TARGET.write_text(draw(encoding.tokens, places[-1], kept), "utf-8")
    print(f"{TARGET}: {kept[0]} tokens, after each layer {kept}")


if __name__ == "__main__":
    main()
