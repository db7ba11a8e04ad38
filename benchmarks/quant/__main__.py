"""Measure the named parts, or all of them: ``python -m benchmarks.quant [PART ...] [--quick]``.

A part can be named by its beginning: ``speed`` means all parts that begin with it. Several parts
run one after the other, each in its own process. Each writes its section of
``benchmarks/results/``.
"""

from __future__ import annotations

import sys

from benchmarks.harness.command_line import run

PARTS = {
    "minilm": "benchmarks.quant.quality.minilm:main",
    "lite0": "benchmarks.quant.quality.lite:lite0",
    "small": "benchmarks.quant.quality.small:main",
    "speed-text": "benchmarks.quant.speed:text",
    "resnet": "benchmarks.quant.resnet:main",
}

if __name__ == "__main__":
    sys.exit(run("quant", PARTS, __doc__))
