"""A small mixed folder, made on the spot, and the command line in a separate process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image

from tests.support.milvus_server import MilvusServer
from workers.cli import main

ANYMODAL = Path(sys.executable).with_name("anymodal")
Run = Callable[..., Any]


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Two texts, two pictures, two sounds and a file that is not media at all."""
    folder = tmp_path / "media"
    (folder / "texts").mkdir(parents=True)
    (folder / "texts" / "bread.txt").write_text(
        "Knead the dough, let it rise for two hours, then bake the loaf in a hot oven."
    )
    (folder / "texts" / "space.md").write_text(
        "# Orbits\n\nA rocket brings the satellite into orbit around the earth."
    )
    rows, columns = np.mgrid[0:240, 0:320]
    sky = np.dstack([rows / 2, rows / 1.5, 255 - columns / 4]).astype(np.uint8)
    Image.fromarray(sky).save(folder / "gradient.jpg")
    checks = ((rows // 20 + columns // 20) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(folder / "checks.png")
    time_s = np.arange(3 * 16_000) / 16_000
    soundfile.write(folder / "tone.wav", 0.3 * np.sin(2 * np.pi * 440 * time_s), 16_000)
    noise = np.random.default_rng(0).normal(0, 0.1, 7 * 16_000)
    soundfile.write(folder / "noise.flac", noise, 16_000)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    return folder


@pytest.fixture
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """That of the data folder; with the parameter ``milvus_server``, the genuine server."""
    if getattr(request, "param", "folder") == "folder":
        return str(tmp_path / "data" / "store")
    server: MilvusServer = request.getfixturevalue(request.param)
    return server.uri


@pytest.fixture
def anymodal(store_uri: str, bundle_home: Path) -> Run:
    """Run the command line; return the parsed JSON, or with ``fails=code`` what went to stderr."""
    assert bundle_home.is_dir()
    environment = {
        **os.environ,
        "ANYMODAL_STORE": store_uri,
        "OMP_NUM_THREADS": "2",
    }

    def run(*words: object, fails: int = 0, **extra: str) -> Any:
        done = subprocess.run(
            [str(ANYMODAL), *map(str, words)],
            capture_output=True,
            text=True,
            env={**environment, **extra},
            timeout=240,
            check=False,
        )
        assert done.returncode == fails, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if fails else json.loads(done.stdout)

    return run


@pytest.fixture
def here(store_uri: str, bundle_home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same in this process, which has imported everything already: a second less per run."""
    assert bundle_home.is_dir()
    command = click.Command("anymodal", callback=main)

    def run(*words: object, fails: int = 0, **extra: str) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["anymodal", *map(str, words)])
            for name, value in {"ANYMODAL_STORE": store_uri, **extra}.items():
                patch.setenv(name, value)
            done = CliRunner().invoke(command, [], catch_exceptions=False)
        assert done.exit_code == fails, done.stderr
        return done.stderr if fails else json.loads(done.stdout)

    return run
