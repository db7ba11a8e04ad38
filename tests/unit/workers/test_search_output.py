from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from encoder.types import IMAGE, TEXT
from search.types import Explanation, Hit, Moment, SearchResult, TermScore
from workers.cli.output import result_lines

WHY = Explanation([TermScore(0, "text", 1.0, 0.42, 2.5)], 0.42, 2.5, 1, 7.1, 2, 2.5, 1)
MOMENT = Moment("s2", IMAGE, 1.5, start_s=5.0, end_s=6.0)
HIT = Hit(
    "a",
    "s1",
    "/talks/[1].txt",
    TEXT,
    2.5,
    char_start=0,
    char_end=20,
    snippet="a red\ncar",
    matches=[(2, 5)],
    moments=[MOMENT],
    explanation=WHY,
)


def printed(result: SearchResult, *, shows_weak: bool = False) -> str:
    screen = Console(record=True, width=120, force_terminal=True, highlight=False)
    for line in result_lines(result, shows_weak=shows_weak):
        screen.print(line)
    return screen.export_text(styles=True)


def test_a_hit_stands_with_its_moments_and_its_reasons() -> None:
    text = printed(SearchResult([HIT], {}, "next"))
    assert "[1].txt" in text
    assert "characters 0–20" in text
    assert "0:05–0:06" in text
    assert "\x1b[1mred\x1b[0m car" in text
    assert "1. score 2.50: text ×1 cosine 0.420" in text
    assert "--page next" in text


def test_nothing_found_is_said() -> None:
    assert printed(SearchResult([], {})).strip() == "Nothing found."


def test_weaker_matches_are_counted_and_shown_when_asked_for() -> None:
    far = replace(HIT, uri="/talks/far.txt", weak=True, explanation=None)
    result = SearchResult([HIT, far], {})
    text = printed(result)
    assert "far.txt" not in text
    assert "1 weaker match: --weak" in text
    assert "far.txt" in printed(result, shows_weak=True)
    assert "Nothing stands out. 2 weaker matches: --weak" in printed(SearchResult([far, far], {}))
