"""Questions of lists, of names and folders, and made-up ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder.errors import InputError
from ingest.config import IngestConfig
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
