"""``anymodal models gate calibrate`` on the real text tower."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from encoder import MultiModalEncoder
from encoder.dsre.fitting.documents import Document, part_of
from encoder.dsre.fitting.judge import Run
from encoder.dsre.gatefile import GateFile
from encoder.errors import InputError, ModelError
from encoder.prepare.gates import fit as timing
from encoder.prepare.gates.fit import break_even
from workers.cli import anymodal

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bundle_home")]

N_EACH = 22  # documents in each part: judging takes at least 20 queries
THINGS = (
    "boat harbour bread oven tax council violin string glacier river tomato garden railway "
    "bridge planet comet fever nurse carpet wool chess bishop mirror glass coin mint"
).split()


def dsre(*options: str) -> str:
    ran = CliRunner().invoke(anymodal, ["models", "gate", *options], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def speedup(dense: Run, sparse: Run, texts: Sequence[Sequence[int]]) -> float:
    """Run both; a busy machine's clock cannot show from which length on the gate pays."""
    for run in (dense, sparse):
        run(np.asarray([texts[0]], np.int64))
    return len(texts[0]) / 150


@pytest.fixture(autouse=True)
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """`test_break_even` has the real one."""
    monkeypatch.setattr(timing, "_speedup", speedup)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    counts = Counter[str]()
    for i in range(400):
        a, b = rng.choice(THINGS, 2, replace=False)
        body = " ".join(f"The {rng.choice([a, b, 'old man'])} was seen at {n}." for n in range(22))
        title = f"About the {a} and the {b}, number {i}"
        part = part_of(Document(title, body))
        counts[part] += 1
        if counts[part] <= N_EACH:
            (folder / f"{i}.txt").write_text(f"{title}\n\n{body}")
    return folder


def options(texts: Path, out: Path, *others: str) -> tuple[str, ...]:
    return "--texts", str(texts), "--max-loss", "0.9", "--out", str(out), *others


def test_texts_give_a_gate_that_the_encoder_takes(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "gate.npz"
    facts = json.loads(dsre("calibrate", *options(texts, out)))
    assert GateFile.load(out).identity == facts["identity"]
    assert sum(facts["documents"].values()) == 3 * N_EACH
    assert facts["judged"]["n_queries"] == facts["documents"]["judge"]
    assert GateFile.load(out).settings.min_tokens == break_even(
        {int(length): speedup for length, speedup in facts["break_even"].items()}
    )
    space = MultiModalEncoder(enable_dsre=str(out), quantization=None).space
    dense = MultiModalEncoder(enable_dsre=False, quantization=None).space
    assert space.fingerprint == dense.fingerprint


def test_too_few_texts_or_another_model(tmp_path: Path) -> None:
    out = str(tmp_path / "gate.npz")
    with pytest.raises(InputError, match="0 text files"):
        dsre("calibrate", "--texts", str(tmp_path), "--out", out)
    (tmp_path / "a.txt").write_text("A title of it\n" + "A sentence that goes on. " * 30)
    with pytest.raises(ModelError, match="'bert:x' is of an unknown kind"):
        dsre("calibrate", "--model", "bert:x", "--texts", str(tmp_path), "--out", out)
    assert not (tmp_path / "gate.npz").exists()
