"""Distill the English bundle's own gate: ``encoder/models/bundle/gates/text.npz``.

    python -m scripts.distill_text_gate [--packages FOLDER]

It is made from texts that anyone has: descriptions of Debian packages (the split "calibration",
which no benchmark asks about), Python's manual, and the documentation of libraries that are
installed with this project. Long texts matter, so short descriptions are joined to likely
neighbours, and what a manual says beyond 512 tokens is used for training too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.corpora.debian_packages import pairs
from encoder.dsre.fitting.documents import Document, parted
from encoder.models.bundle.declaration import TEXT_GATE
from scripts.distilling import TrainingPlan, distill_text
from tests.support.manuals import documented, topics

MODULES = ("numpy", "torch")
OTHERS = ("pandas", "networkx", "sympy", "matplotlib", "sklearn")
"""Only for training: nothing is chosen or judged by them."""

MAX_TOKENS = 512
_JOINED_CHARACTERS = 1500
_SHORT_CHARACTERS = 800
_WINDOW_CHARACTERS = 1900


def joined(documents: Sequence[Document]) -> Iterator[str]:
    """Short descriptions in the order of their titles, several to a text."""
    text = ""
    for one in sorted(documents):
        if len(one.body) < _SHORT_CHARACTERS:
            text = f"{text}\n{one.title}. {one.body}".strip()
        if len(text) > _JOINED_CHARACTERS:
            yield text
            text = ""


def continued(documents: Sequence[Document]) -> Iterator[str]:
    """What long documents say after the part that a network reads."""
    for one in documents:
        for start in range(_WINDOW_CHARACTERS, len(one.body), _WINDOW_CHARACTERS):
            yield one.body[start : start + _WINDOW_CHARACTERS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--packages", type=Path, default=Path(".demo") / "packages")
    parser.add_argument("--max-loss", type=float, default=0.003)
    parser.add_argument("--steps", type=int, default=TrainingPlan().n_steps)
    args = parser.parse_args()
    described = [Document(one.title, one.body) for one in pairs(args.packages, "calibration")]
    manuals, others = [*topics(), *documented(*MODULES)], documented(*OTHERS)
    more = [
        *joined(parted(described)["rarity"]),
        *continued([*parted(manuals)["rarity"], *others]),
        *(one.body for one in others),
    ]
    gate = distill_text(
        "bundle:english", [*described, *manuals], plan=TrainingPlan(n_steps=args.steps),
        further_texts=more, max_loss=args.max_loss, max_tokens=MAX_TOKENS, report=print,
    )  # fmt: skip
    gate.save(TEXT_GATE)


if __name__ == "__main__":
    main()
