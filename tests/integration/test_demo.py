"""The demo of the README finds what it promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.queries import QUERIES

ROOT = Path(__file__).parent.parent.parent


def test_every_query_of_the_demo_finds_what_it_should(
    tmp_path: Path, multilingual_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert multilingual_home.is_dir()
    monkeypatch.delenv("ANYMODAL_ENCODER__MODEL")
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(QUERIES)} of {len(QUERIES)} queries" in done.stdout
    for stage in ("encode_text", "encode_image", "encode_audio", "search", "total"):
        assert f"{stage} " in done.stdout
