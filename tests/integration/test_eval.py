"""`anymodal models eval`: models and precisions side by side on a user's files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from encoder import MultiModalEncoder
from ingest import IngestConfig
from workers.cli import anymodal
from workers.evaluation.judging import judge
from workers.evaluation.questions import Content, Question, QuestionSet

TEXTS = {
    "When does the ferry leave?": "The boat departs from the harbour at noon.",
    "Which cake has apples?": "A strudel is filled with apples & raisins.",
    "Who repairs bicycles?": "The workshop mends wheels, chains and brakes.",
}


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    rows = ["query,file"]
    for number, (query, text) in enumerate(TEXTS.items()):
        (tmp_path / f"{number}.txt").write_text(text)
        rows.append(f"{query},{number}.txt")
    path = tmp_path / "list.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("bundle_home")
def test_precisions_side_by_side(listed: Path) -> None:
    words = ["models", "eval", str(listed), "--precision", "none", "--precision", "int8"]
    ran = CliRunner().invoke(anymodal, words, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert [one["name"] for one in found["subjects"]] == [
        "bundle:english, none",
        "bundle:english, int8",
    ]
    for one, gain in zip(found["subjects"], (None, {"mean": 0, "low": 0, "high": 0}), strict=True):
        (pair,) = one["pairs"]
        assert (pair["query"], pair["target"]) == ("text", "text")
        assert (pair["n_queries"], pair["n_candidates"]) == (3, 3)
        assert pair["recall_at_1"]["mean"] == pair["mrr"]["mean"] == 1
        assert pair["gain"] == gain


@pytest.fixture(scope="module")
def encoder(bundle_home: Path) -> MultiModalEncoder:  # noqa: ARG001
    return MultiModalEncoder("bundle:english")


@pytest.mark.usefixtures("listed")
def test_what_a_model_cannot_encode_is_left_out_and_named(
    encoder: MultiModalEncoder, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n<b>")
    files = [Content(file=tmp_path / name) for name in ("0.txt", "1.txt", "broken.png")]
    asked = QuestionSet("list", [Question(Content("ferry"), {files[0]: 1.0, files[2]: 1.0})], files)
    found = judge("one", encoder, asked, IngestConfig())
    (pair,) = found.pairs.values()
    assert (pair.n_queries, pair.n_candidates, pair.figures["mrr"].mean) == (1, 2, 1.0)
    assert list(found.failed) == [str(tmp_path / "broken.png")]
    assert found.cpu_s > 0


def test_a_model_is_compared_with_the_first_query_by_query(
    encoder: MultiModalEncoder, listed: Path
) -> None:
    files = [Content(file=listed.parent / f"{n}.txt") for n in range(3)]
    right = [Question(Content(query), {files[n]: 1.0}) for n, query in enumerate(TEXTS)]
    first = judge("right", encoder, QuestionSet("list", right, files), IngestConfig())
    wrong = [Question(one.query, {files[n - 1]: 1.0}) for n, one in enumerate(right)]
    second = judge("wrong", encoder, QuestionSet("list", wrong, files), IngestConfig(), first)
    gain = second.pairs["text", "text"].gain  # type: ignore[index]
    assert gain is not None
    assert gain.high < 0
    assert gain.mean == pytest.approx(second.pairs["text", "text"].figures["ndcg_at_10"].mean - 1)  # type: ignore[index]


ROOT = Path(__file__).parents[2]
# In a separate process: mteb imports torch and much more, and emits warnings that are not ours.
SCRIPT = """
import json, sys
import mteb, numpy as np
from datasets import Dataset
from mteb.mocks import mock_tasks
from mteb.models.models_protocols import EncoderProtocol
from examples.mteb_encoder import MtebEncoder

class Sounds(mock_tasks.MockAny2AnyRetrievalA2TTask):
    def load_data(self, **_):
        waves = [np.sin(np.arange(16_000) / n).tolist() for n in (3, 30)]
        sounds = [{"array": one, "sampling_rate": 16_000} for one in waves]
        columns = {"id": ["q0", "q1"], "audio": sounds, "modality": ["audio"] * 2}
        self.queries = {"test": Dataset.from_dict(columns)}
        texts = {"id": ["d1", "d2"], "text": ["a whistle", "a hum"], "modality": ["text"] * 2}
        self.corpus = {"test": Dataset.from_dict(texts)}
        self.relevant_docs = {"test": {"q0": {"d1": 1}, "q1": {"d2": 1}}}
        self.data_loaded = True

model = MtebEncoder("bundle:english")
assert isinstance(model, EncoderProtocol)
tasks = [mock_tasks.MockRetrievalTask(), mock_tasks.MockAny2AnyRetrievalT2ITask(), Sounds()]
options = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
found = mteb.evaluate(model, tasks, **options)
scores = {one.task_name: one.get_score() for one in found.task_results}
sys.stdout.write("\\n" + json.dumps([found.model_name, found.model_revision, scores]))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("bundle_home")
def test_tasks_of_text_pictures_and_sounds_run() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=250
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    name, revision, scores = json.loads(ran.stdout.splitlines()[-1])
    assert name == "anymodal/bundle-english"
    assert len(revision) == 16
    assert scores.keys() == {
        "MockRetrievalTask",
        "MockAny2AnyRetrievalT2I",
        "MockAny2AnyRetrievalA2T",
    }
    assert all(-1 <= score <= 1 for score in scores.values())
