"""Docs, docstrings, comments and messages are in plain English: a list keeps odd phrases out."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "docs" / "decisions", ROOT / "examples")
    for path in folder.glob("*.md")
]
CODE = [
    path
    for folder in ("encoder", "ingest", "search", "workers", "examples", "scripts")
    for ending in ("py", "js", "html")
    for path in (ROOT / folder).rglob(f"*.{ending}")
]
ODDITIES = (
    r"\b(tells?|told|telling)\b", r"\bhears? of\b", r"\bheard of\b", r"\bnot wanted\b",
    r"\bthe way of\b", r"\bof (ours|yours|before)\b", r"\banew\b", r"\bfor ever\b",
    r"\bbut for\b", r"\bwhoever\b", r"\bwho comes\b", r"\bcomes? of (it|that)\b",
    r"(?<!there )\bis no (file|text|key|word|url|precision|number)\b", r"\bat work\b",
    r"\bparted\b", r"\bwhat is said (of|at|to)\b", r"\bspeaks? for\b", r"\bstands? in for\b",
    r"\bonce more\b", r"\bhow (a|the|each) job stands\b", r"\bat hand\b", r"\bby way of\b",
    r"\bis held to\b", r"\b(says?|without) a word\b", r"\bhave to be bound\b",
)  # fmt: skip
"""What a native reader would stumble over: translated idioms."""
ODD = re.compile("|".join(ODDITIES), re.IGNORECASE)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a file that people read: of Python only strings and comments."""
    source = path.read_text("utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            for number, line in enumerate(token.string.splitlines(), token.start[0]):
                yield number, re.sub(r"\{[^}]*\}|`[^`]*`", "", line)


def odd(path: Path) -> list[str]:
    """The odd lines of a file."""
    return [f"{path.name}:{n}: {line.strip()}" for n, line in prose(path) if ODD.search(line)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_are_in_plain_english(path: Path) -> None:
    assert odd(path) == []


def test_code_is_in_plain_english() -> None:
    assert len(CODE) > 400
    assert [line for path in CODE for line in odd(path)] == []


def test_names_of_tests_are_in_plain_english() -> None:
    files = (ROOT / "tests").rglob("test_*.py")
    names = [name for file in files for name in re.findall(r"def (test_\w+)", file.read_text())]
    assert len(names) > 1000
    assert [name for name in names if ODD.search(name.replace("_", " "))] == []


def test_only_what_people_read_counts(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        'told = f"{told} `tell`"  # is told the rest\n"""Begin anew."""\n'
    )
    assert [line.split(": ")[1] for line in odd(tmp_path / "a.py")] == [
        "# is told the rest",
        '"""Begin anew."""',
    ]
