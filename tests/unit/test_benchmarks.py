"""The pure parts of benchmarks keep what their docstrings show, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = sorted(path for path in (ROOT / "benchmarks").rglob("*.py") if ">>> " in path.read_text())
RUN = """
import doctest, importlib, sys
ran = doctest.testmod(importlib.import_module(sys.argv[1]))
sys.exit(ran.failed or not ran.attempted)
"""


@pytest.mark.moderate
@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_docstrings_are_true(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    command = [sys.executable, "-c", RUN, module]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
