"""Measure the named parts, or all of them: ``python -m benchmarks.dsre [PART ...] [--quick]``.

A part can be named by its beginning. Dense rows stand next to the sparse ones, so that int8 and the
removal of padding are not counted as sparsity. Each part runs in its own process and writes its
section of ``benchmarks/results/``.
"""

from __future__ import annotations

import os
import sys

from benchmarks.harness.command_line import run

PARTS = {
    "speed": "benchmarks.dsre.product:speed",
    "ingest": "benchmarks.dsre.product:ingest",
    "questions": "benchmarks.dsre.questions:questions",
}

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(run("dsre", PARTS, __doc__))
