"""Measure the named parts, or all of them: ``python -m benchmarks.api [PART ...] [--quick]``.

A genuine Milvus server holds 20,000 mixed segments; everything else runs in separate processes on
the same two cores. Each part writes its section of ``benchmarks/results/``.
"""

from __future__ import annotations

import sys

from benchmarks.harness.command_line import run

PARTS = {
    "latency": "benchmarks.api.latency:main",
    "latency-milvus": "benchmarks.api.latency:on_milvus",
    "throughput": "benchmarks.api.throughput:main",
    "others": "benchmarks.api.peers.beside_others:main",
    "vectrix": "benchmarks.api.peers.beside_others:vectrix",
    "others-100k": "benchmarks.api.peers.beside_others:at_100k",
}

if __name__ == "__main__":
    sys.exit(run("api", PARTS, __doc__))
