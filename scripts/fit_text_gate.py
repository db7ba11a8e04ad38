"""Fit the bundle's own gate: ``encoder/models/gates/text.npz``.

    python -m scripts.fit_text_gate [--packages FOLDER]

From texts that anyone has: descriptions of Debian packages (the split "calibration", which no
benchmark asks about), Python's manual, and the documentation of numpy and torch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.manuals import documented, topics
from benchmarks.pairs import pairs
from encoder.dsre.documents import Document
from encoder.models.gates import TEXT_GATE
from encoder.models.text_gate import calibrate_text

MODULES = ("numpy", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--packages", type=Path, default=Path(".demo") / "packages")
    parser.add_argument("--max-loss", type=float, default=0.003)
    args = parser.parse_args()
    described = [Document(one.title, one.body) for one in pairs(args.packages, "calibration")]
    documents = [*described, *topics(), *documented(*MODULES)]
    gate = calibrate_text("bundle:default", documents, max_loss=args.max_loss, report=print)
    gate.save(TEXT_GATE)


if __name__ == "__main__":
    main()
