"""Pages quote the results as they are."""

from __future__ import annotations

import re

import pytest

from scripts.quote_results import PAGES, all_results, filled

TABLE = """# Results

## Speed

Asked for 8×: it caps at 6.4×.

**1 × 32**

|  | ms | gain |
| --- | --- | --- |
| torch | 20.5 |  |
| **ours, int8** | 5.10 | 3.85 (3.5–4.3); 3.85 (≥ 3.5: met) |

**8 × 32**

|  | ms | gain |
| --- | --- | --- |
| **ours, int8** | 40.0 | 2.65 |

## Sizes

| network | size | MB |
| --- | --- | --- |
| a | 1 | 1,024 |
| a | 2 | 9 |
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_the_figures_of_the_results(page: object) -> None:
    text = page.read_text()  # type: ignore[attr-defined]
    assert len(re.findall("<!--q ", text)) == len(re.findall("<!--/q-->", text)) >= 20
    assert filled(text, all_results()) == text, "run `python -m scripts.quote_results`"


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("Speed › 1 × 32 · ours, int8 · ms", "5.10"),
        ("Speed › 8 × 32 · ours, int8 · gain", "2.65"),
        ("Speed › 1 × 32 · ours, int8 · gain", "3.85"),
        ("Speed › 1 × 32 · ours, int8 · gain!", "3.85 (3.5–4.3); 3.85 (≥ 3.5: met)"),
        ("Sizes · a; 1 · MB", "1,024"),
        (r"Speed · = · caps at ([\d.]+)×", "6.4"),
        ("Sizes · a; 1 · MB ÷ Sizes · a; 2 · MB", "114"),
        ("Speed › 1 × 32 · torch · ms ÷ Speed › 1 × 32 · ours, int8 · ms", "4.02"),
    ],
)
def test_a_figure_is_found(what: str, said: str) -> None:
    assert filled(f"x <!--q {what}-->?<!--/q--> y", TABLE) == f"x <!--q {what}-->{said}<!--/q--> y"


@pytest.mark.parametrize(
    "what",
    [
        "Speed · ours, int8 · ms",  # in two tables
        "Sizes · a · MB",  # two rows
        "Sizes · b · MB",
        "Sizes · a; 1 · GB",
        "Speed › 1 × 32 · torch · gain",  # empty
        "Weight · a · MB",
        r"Speed · = · caps at ([\d.]+)°",
        "Weight · b · MB ÷ Sizes · a; 2 · MB",
    ],
)
def test_what_is_not_there_once_is_refused(what: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(repr(what.split(" ÷ ")[0]))):
        filled(f"<!--q {what}-->?<!--/q-->", TABLE)
