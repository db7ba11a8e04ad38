"""mteb runs text, picture and sound tasks on our encoder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
