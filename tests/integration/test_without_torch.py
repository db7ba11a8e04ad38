"""Serving works where torch cannot be imported: torch is for preparing models only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import soundfile
import soxr

from encoder.models.bundle.declaration import bundle_folder, location, read_bundle
from encoder.models.bundle.kinds import FLOAT, INT8
from encoder.models.sparsity import SPARSE_INT8
from encoder.system.cache import cache_home
from examples.speech import Speaker
from tests.integration.test_serve import serving
from tests.support.media import tone, write_film

BLOCKED = (
    "torch", "torchvision", "triton", "transformers", "sentence_transformers", "onnxscript",
    "sympy", "librosa", "numba", "sklearn",
)  # fmt: skip
LONG = "A ferry left the harbour at dawn, and the gulls went with it. " * 20
SAID = "The train to London leaves from platform nine at half past six."

ANYMODAL = ("-c", "from workers.cli import main; main()")

# Notes each attempt: even one that is caught would load torch where it is installed.
FINDER = """
import sys

BLOCKED, LOG = {blocked!r}, {log!r}

class Refuse:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            note("refused", name)
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

def note(*words):
    with open(LOG, "a") as file:
        print(*words, file=file)

sys.meta_path.insert(0, Refuse)
note("began", *sys.orig_argv[1:])
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each process says that it began, and what it was refused."""
    return tmp_path_factory.mktemp("log") / "log"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, log: Path) -> Path:
    """An interpreter with all packages of this one except `BLOCKED`; so are its children.

    A separate environment, since a parent decides which variables its children inherit.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "refuse.py").write_text(FINDER.format(blocked=BLOCKED, log=str(log)))
    ours = [path for path in sys.path if path.endswith("site-packages")]
    lines = ["import refuse", *(f"import site; site.addsitedir({path!r})" for path in ours)]
    (packages / "refuse.pth").write_text("\n".join(lines) + "\n")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def weights(bundle_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the bundle's weights as they were unpacked, with nothing made from them."""
    home = tmp_path_factory.mktemp("home")
    bundle = read_bundle("english")
    for part in bundle.parts.values():
        source, target = bundle_home / part.name, bundle_folder(bundle, home) / part.name
        target.mkdir(parents=True)
        manifest = json.loads((source / "manifest.json").read_text())
        # so that it is made again
        (target / "manifest.json").write_text(json.dumps({**manifest, "recipe": 0}))
        for name in part.members.values():
            (target / name).symlink_to(source / name)
    return home


@pytest.fixture(scope="module")
def home(python: Path, weights: Path) -> Path:
    """What ``anymodal bundle fetch`` makes of them."""
    run(python, weights, *ANYMODAL, "bundle", "fetch", "english")
    return weights


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A long text, a picture, a spoken sentence and a film in which it is heard."""
    from PIL import Image

    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "ferry.txt").write_text(LONG)
    Image.new("RGB", (320, 240), (200, 30, 30)).save(folder / "red.png")
    speaker = Speaker(cache_home())
    said = soxr.resample(speaker.say(SAID), speaker.sampling_rate, 48_000)
    soundfile.write(folder / "train.wav", said, 48_000)
    soundfile.write(folder / "tone.flac", tone(3.0), 44_100)
    write_film(folder / "film.mp4", seconds=6.0, samples=said)
    return folder


def lines(log: Path, kind: str) -> list[str]:
    return [line for line in log.read_text().splitlines() if line.startswith(kind)]


def run(python: Path, home: Path, *words: object) -> str:
    done = subprocess.run(
        [str(python), *map(str, words)],
        env={**os.environ, "ANYMODAL_HOME": str(home)},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


ENCODE = """
import json, sys
from pathlib import Path
from encoder import MultiModalEncoder
from encoder.media.sound import load_sound

folder, text = Path(sys.argv[1]), sys.argv[2]
encoder = MultiModalEncoder(quantization="auto", enable_dsre="auto")
plain = encoder.encode_multimodal(text=text)
told = encoder.encode_multimodal(text=text, return_stats=True)
other = encoder.encode_multimodal(
    image=folder / "red.png", audio=[folder / "train.wav", folder / "tone.flac"],
    video=folder / "film.mp4",
)
print(json.dumps({
    "merged": int(told.stats.tokens[0] - told.stats.kept[0, -1]),
    "same": bool((plain.text == told.text).all()),
    "shapes": [list(other[name].shape) for name in ("image", "audio", "video")],
    "said": [one.text for one in encoder.services.transcribe(load_sound(folder / "train.wav"))],
}))
"""


def test_the_bundle_is_prepared(home: Path, log: Path) -> None:
    for name in ("text", "image", "audio"):
        assert {FLOAT, INT8} <= {
            path.name for path in (location(read_bundle("english"), home) / name).iterdir()
        }
    assert list((home / "sparse").glob("*" + SPARSE_INT8))
    assert lines(log, "refused") == []


def test_every_modality_is_encoded(python: Path, home: Path, media: Path, log: Path) -> None:
    found = json.loads(run(python, home, "-c", ENCODE, media, LONG))
    assert found["merged"] > 50
    assert found["same"]
    assert found["shapes"] == [[384], [2, 384], [384]]
    assert "London" in " ".join(found["said"])
    assert lines(log, "refused") == []


def test_a_folder_is_ingested_and_searched(
    python: Path, home: Path, media: Path, log: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    report = json.loads(run(python, home, *ANYMODAL, "ingest", media, "--store", store))
    assert (report["ingested"], report["failures"]) == (5, [])
    assert set(report["segments"]) == {"text", "image", "audio"}
    found = json.loads(run(python, home, *ANYMODAL, "search", "gulls", "--store", store))
    assert Path(found["hits"][0]["uri"]).name == "ferry.txt"
    assert any("ingest.isolate" in line for line in lines(log, "began"))
    assert lines(log, "refused") == []


def test_a_server_takes_files_and_answers(
    python: Path, home: Path, media: Path, log: Path, tmp_path: Path
) -> None:
    command = (python, *ANYMODAL, "serve")
    with serving(tmp_path, command=command, ANYMODAL_HOME=str(home)) as (_, client):
        files = [("file", (path.name, path.read_bytes())) for path in media.iterdir()]
        job = client.post("/v1/assets", files=files).json()["job"]
        with client.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
            *_, last = (line for line in events.iter_lines() if line.startswith("data:"))
        assert json.loads(last.removeprefix("data:"))["ingested"] == len(files)
        vectors = client.post("/v1/embeddings", json={"input": [LONG, "rain"]}).json()["data"]
        assert [len(row["embedding"]) for row in vectors] == [384, 384]
        found = client.post("/v1/search", json={"query": "gulls in the harbour"}).json()
        assert found["hits"][0]["title"] == "ferry"
    assert lines(log, "refused") == []


def test_what_prepares_models_says_what_to_install(python: Path, home: Path, log: Path) -> None:
    done = subprocess.run(
        [str(python), *ANYMODAL, "models", "quantize", "--out", str(home / "quantized")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert re.search(r"pip install .*\[torch\]", done.stderr)
    log.unlink()  # it looked for torch, as it should
