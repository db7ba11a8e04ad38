"""The room of foreign data: its intervals, its sources, its reader of questions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bundle_quality import mixed, pages, questions, sounds, sources
from benchmarks.bundle_quality.__main__ import SUBJECTS, subject_named
from benchmarks.bundle_quality.report import Figure, interval
from benchmarks.bundle_quality.sources import Repository


def test_queries_that_share_a_paragraph_count_less() -> None:
    hits = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0] * 8, 5)
    alone = interval(hits, np.arange(len(hits)))
    shared = interval(hits, np.arange(len(hits)) // 5)
    assert alone[0] < hits.mean() < alone[1]
    assert shared[1] - shared[0] > 1.8 * (alone[1] - alone[0])


def test_a_row_shows_its_number_its_interval_and_who_looked() -> None:
    ones = np.ones(12)
    cells = Figure("en → en", "R@1", ones, np.arange(12), bar=0.92, seen="the gate").cells()
    assert cells == ["en → en", 12, "R@1", "1.000 (1.000–1.000)", "0.92", "the gate"]
    assert Figure("x", "R@1", ones, np.arange(12)).cells()[4:] == ["–", "no"]


def test_nonsense_is_the_same_each_time_and_never_twice() -> None:
    assert len(set(mixed.spoken())) == len(set(mixed.typed())) == 200
    assert mixed.spoken() == mixed.spoken()


def test_missing_fonts_are_named_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"NotoSansCJK-Regular\.ttc.*fonts-noto-cjk"):
        pages.check_fonts(tmp_path)


def test_each_class_of_sounds_is_asked_for_in_three_languages(tmp_path: Path) -> None:
    for kind in sounds.KINDS:
        for language in sounds.LANGUAGES:
            asked = sounds.queries(kind, language, range(50))
            assert [query.of_class for query in asked] == list(range(50))
            assert len({query.text for query in asked}) == 50
    for folder, name in (("001 - Dog bark", "a.ogg"), ("010 - Fire crackling", "b.ogg")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    assert sounds.ten(tmp_path).classes.tolist() == [0, 12]
    for name in ("1-100032-A-0.wav", "1-100210-A-36.wav"):
        (tmp_path / name).touch()
    for made in tmp_path.rglob("*.ogg"):
        made.unlink()
    assert sounds.fifty(tmp_path).classes.tolist() == [0, 36]
    assert sounds.forty(tmp_path).classes.tolist() == [36]


def test_every_subject_can_be_found() -> None:
    for name in SUBJECTS:
        assert subject_named(name).about.strip()


def test_questions_are_read_as_of_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        done = subprocess.run(
            ["git", "-C", str(tmp_path / "xquad"), *who, *arguments],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    (tmp_path / "xquad").mkdir()
    blocks = [
        {"context": f"Text {i}.", "qas": [{"question": f"{i}{j}?"} for j in range(i + 1)]}
        for i in range(3)
    ]
    data = {"data": [{"paragraphs": blocks[:2]}, {"paragraphs": blocks[2:]}]}
    (tmp_path / "xquad" / "xquad.en.json").write_text(json.dumps(data), "utf-8")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "First")
    first = git("rev-parse", "HEAD")
    git("rm", "--quiet", "xquad.en.json")
    git("commit", "--quiet", "-m", "Second")
    monkeypatch.setattr(sources, "FOLDER", tmp_path / "fetched")
    repository = Repository(str(tmp_path / "xquad"), first, "none")
    monkeypatch.setattr(questions, "XQUAD", repository)
    found = questions.read("en")
    assert found.paragraphs == ["Text 0.", "Text 1.", "Text 2."]
    assert found.questions == ["00?", "10?", "11?", "20?", "21?", "22?"]
    assert found.right.tolist() == [0, 1, 1, 2, 2, 2]
