"""Questions to judge models by, and the measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from encoder.errors import InputError
from ingest.config import IngestConfig
from workers.evaluation.measures import interval, measured
from workers.evaluation.questions import Origin, QuestionSet, read_questions


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\xff\xd8\xff\x00")  # no picture, but no text either
    return folder


def answers(found: QuestionSet) -> dict[str, set[str]]:
    return {
        str(one.query.file.name if one.query.file else one.query.text): {
            str(target.file.name if target.file else target.text) for target in one.relevant
        }
        for one in found.questions
    }


def test_a_table_of_queries(tmp_path: Path) -> None:
    made(tmp_path, "a.png", "b.png", "c.png")
    rows = (
        'query,file,relevance\na dog,a.png,\na dog,b.png,2\n"cat, black",c.png,1\na dog,c.png,0\n'
    )
    (tmp_path / "list.csv").write_text(rows)
    found = read_questions(tmp_path / "list.csv", IngestConfig())
    assert answers(found) == {"a dog": {"a.png", "b.png"}, "cat, black": {"c.png"}}
    gains = {one.file.name: gain for one, gain in found.questions[0].relevant.items() if one.file}
    assert gains == {"a.png": 1, "b.png": 2}
    assert (found.origin, len(found.candidates)) == ("list", 3)


def test_a_file_as_query(tmp_path: Path) -> None:
    made(tmp_path, "a.png", "b.png", "q.wav")
    path = tmp_path / "list.csv"
    path.write_text("query,query_file,file\n,q.wav,a.png\nrain,,b.png\n")
    assert answers(read_questions(path, IngestConfig())) == {"q.wav": {"a.png"}, "rain": {"b.png"}}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("l.csv", "question,file\nx,a.png\n", "query or query_file"),
        ("l.csv", "query,file\nx,missing.png\n", "row 2"),
        ("l.csv", "query,file,relevance\nx,a.png,much\n", "'much'"),
        ("l.csv", "query,file\nx,a.png\n", "fewer than two files"),
    ],
)
def test_what_a_list_lacks_is_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    made(tmp_path, "a.png")
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said):
        read_questions(tmp_path / name, IngestConfig())


def test_names_that_belong_together_ask_both_ways(tmp_path: Path) -> None:
    made(tmp_path, "a.jpg", "b.jpg", "lonely.jpg", "readme.txt")
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f" photo {name}\n")
    found = read_questions(tmp_path, IngestConfig())
    assert found.origin == "names"
    assert answers(found) == {
        "photo a": {"a.jpg"},
        "photo b": {"b.jpg"},
        "a.jpg": {"photo a"},
        "b.jpg": {"photo b"},
    }


def test_folders_name_what_is_in_them(tmp_path: Path) -> None:
    made(tmp_path, "sea_lion/1.jpg", "sea_lion/deep/2.jpg", "red-fox/3.jpg", "loose.jpg")
    found = read_questions(tmp_path, IngestConfig())
    assert found.origin == "classes"
    assert answers(found) == {"red fox": {"3.jpg"}, "sea lion": {"1.jpg", "2.jpg"}}


def test_rare_words_and_names_become_questions(tmp_path: Path) -> None:
    made(tmp_path, "old_bicycle.jpg", "0001.jpg")
    common = "the ferry leaves the harbour every morning"
    (tmp_path / "a.txt").write_text(f"{common} for Helgoland")
    (tmp_path / "b.txt").write_text(f"{common} without lifeboats")
    found = read_questions(tmp_path, IngestConfig(), "synthetic")
    by_file = {next(iter(v)): k for k, v in answers(found).items()}
    assert by_file.keys() == {"a.txt", "b.txt", "old_bicycle.jpg"}
    assert by_file["old_bicycle.jpg"] == "old bicycle"
    assert "helgoland" in by_file["a.txt"]
    assert {"without", "lifeboats"} <= set(by_file["b.txt"].split())
    assert len(found.candidates) == 4


@pytest.mark.parametrize("origin", ["names", "classes", "synthetic", None])
def test_a_folder_without_questions_is_refused(tmp_path: Path, origin: Origin | None) -> None:
    made(tmp_path, "1.jpg")
    with pytest.raises(InputError, match="fewer than two files"):
        read_questions(tmp_path, IngestConfig(), origin)


def test_one_relevant_candidate_each() -> None:
    scores = np.array([[0.9, 0.1, 0.2], [0.9, 0.1, 0.2], [0.9, 0.1, 0.2]])
    found = measured(scores, np.eye(3))
    assert found["mrr"] == pytest.approx([1, 1 / 3, 1 / 2])
    assert found["recall_at_1"] == pytest.approx([1, 0, 0])
    assert found["recall_at_5"] == pytest.approx([1, 1, 1])
    assert found["ndcg_at_10"] == pytest.approx([1, 1 / 2, 1 / np.log2(3)])


def test_of_more_relevant_candidates_than_places_the_places_count() -> None:
    scores = np.linspace(1, 0, 20)[None]
    gains = (np.arange(20) < 7)[None].astype(float)
    found = measured(scores, gains)
    assert (found["recall_at_1"], found["recall_at_5"]) == (1, 1)
    assert measured(-scores, gains)["recall_at_10"] == 0


def test_graded_gains_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    scores, gains = rng.normal(size=(40, 30)), rng.integers(0, 4, size=(40, 30)).astype(float)
    own = measured(scores, gains)["ndcg_at_10"]
    theirs = [ndcg_score(gains[n : n + 1], scores[n : n + 1], k=10) for n in range(40)]
    assert own == pytest.approx(theirs)


def test_the_same_score_for_all_finds_nothing() -> None:
    gains = np.eye(20)
    found = measured(np.full((20, 20), 0.3) + 1e-9 * gains, gains)
    assert found["mrr"] == pytest.approx(1 / 20)
    assert found["recall_at_10"].max() == 0


def test_an_interval_holds_the_mean_and_shrinks_with_more_queries() -> None:
    rng = np.random.default_rng(0)
    few, many = (rng.integers(0, 2, n).astype(float) for n in (20, 2000))
    wide, narrow = interval(few, range(20)), interval(many, range(2000))
    assert wide.low <= wide.mean <= wide.high
    assert narrow.high - narrow.low < 0.25 * (wide.high - wide.low)
    assert narrow.high - narrow.low == pytest.approx(4 * 0.5 / np.sqrt(2000), rel=0.1)


def test_captions_of_one_photo_are_no_trials_of_their_own() -> None:
    values = np.repeat(np.random.default_rng(1).integers(0, 2, 40), 5).astype(float)
    photos = [f"photo {n // 5}" for n in range(200)]
    apart, together = interval(values, range(200)), interval(values, photos)
    assert together.high - together.low > 1.8 * (apart.high - apart.low)
