"""`anymodal models eval`: models and precisions side by side on a user's files."""

from __future__ import annotations

import json
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
