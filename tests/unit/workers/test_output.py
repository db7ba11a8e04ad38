"""What the command says of a result: how likely hits are, and what was not judged."""

from __future__ import annotations

import io

import pytest

from encoder.types import TEXT
from search.types import Hit, SearchResult
from workers.cli import output

NOT_JUDGED = "Not judged:"


def hit(name: str, probability: float | None = None, *, weak: bool = False) -> Hit:
    return Hit(name, name, f"/x/{name}", TEXT, 1.0, probability=probability, weak=weak)


def printed(result: SearchResult, *, shows_weak: bool = False) -> str:
    screen = output.console()
    screen.file, screen.width = io.StringIO(), 200
    for line in output.result_lines(result, shows_weak=shows_weak):
        screen.print(line)
    return screen.file.getvalue()


def test_a_hit_has_a_word_and_no_percentage() -> None:
    text = printed(SearchResult([hit("a.txt", 0.9), hit("b.txt", 0.05)], {}))
    lines = {
        word: line for word in ("a.txt", "b.txt") for line in text.splitlines() if word in line
    }
    assert "very likely" in lines["a.txt"]
    assert "possible" in lines["b.txt"]
    assert "%" not in text
    assert NOT_JUDGED not in text


@pytest.mark.parametrize("shows_weak", [False, True])
def test_weak_hits_wait_until_they_are_asked_for(shows_weak: bool) -> None:
    text = printed(SearchResult([hit("a.txt", 0.05, weak=True)], {}), shows_weak=shows_weak)
    assert ("Nothing stands out. 1 weaker match: --weak" in text) is not shows_weak
    assert ("unlikely" in text) is shows_weak


def test_the_command_says_what_was_not_judged() -> None:
    text = printed(SearchResult([hit("a.txt")], {}, judged=False))
    assert NOT_JUDGED in text
    assert not {"possible", "unlikely"} & set(text.split())
    assert NOT_JUDGED not in printed(SearchResult([], {}, judged=False))
