"""Memory stays flat over thousands of files of all lengths."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.faults.cluster import ROOT, LiteServer

N_FILES = 600
_WARM_UP = 20  # of 40 shards
_WORDS = "river mountain engine bread harvest violin storm galaxy lantern harbour market".split()


def make_files(folder: Path) -> None:
    """Texts of 1 to 300 words, small pictures and short sounds, in mixed order."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(N_FILES):
        path = folder / f"{number:04d}"
        if number % 10 == 3:
            height, width = rng.integers(8, 200, 2)
            noise = rng.integers(0, 255, (height, width, 3), np.uint8)
            Image.fromarray(noise).save(path.with_suffix(".png"))
        elif number % 50 == 7:
            samples = rng.normal(0, 0.1, int(rng.integers(800, 16_000)))
            soundfile.write(path.with_suffix(".wav"), samples, 8000)
        else:
            words = rng.choice(_WORDS, int(300 ** rng.random()))
            path.with_suffix(".txt").write_text(f"{number} " + " ".join(words))


@pytest.mark.timeout(900)
def test_memory_does_not_grow_with_the_number_of_files(bundle_home: Path, tmp_path: Path) -> None:
    assert bundle_home.is_dir()
    make_files(tmp_path / "media")
    server = LiteServer(tmp_path / "milvus")
    try:
        server.wait_until_ready()
        ran = subprocess.run(
            [sys.executable, "-m", "tests.faults.long_run", tmp_path / "media", server.uri],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    finally:
        server.kill()
    told = json.loads(ran.stdout)
    assert (told["report"]["ingested"], told["report"]["failed"]) == (N_FILES, 0)
    warm = told["memory_mb"][_WARM_UP:]
    first, last = (float(np.median(part)) for part in (warm[:10], warm[-10:]))
    assert last <= 1.05 * first, told["memory_mb"]
