"""``.anymodalignore``: which files are left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest import Failure, discover
from ingest.sources.ignored import NAME, Ignored


def write(root: Path, *names: str, **patterns: str) -> None:
    """Files, and ignore files by folder: ``here`` for the root, ``a_b`` for ``a/b``."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for folder, lines in patterns.items():
        (root / folder.replace("here", ".").replace("_", "/") / NAME).write_text(lines)


def found(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in discover([folder]))


def test_patterns_are_those_of_gitignore(tmp_path: Path) -> None:
    write(
        tmp_path,
        *("a.tmp", "keep.tmp", "b.txt", "drafts/a.txt", "sub/drafts/c.txt", "sub/top.txt"),
        *("top.txt", "# no", "x/y/z.log", "x/z.log", "drafts.txt"),
        here="*.tmp\n!keep.tmp\n\n# a comment\ndrafts/\n/top.txt\nx/**/z.log\n\\# no\n",
    )
    assert found(tmp_path) == ["b.txt", "drafts.txt", "keep.tmp", "sub/top.txt"]


def test_the_nearest_file_wins_and_nothing_comes_back_from_a_folder_left_out(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        *("a.log", "in/b.log", "in/c.txt", "out/d.txt"),
        here="*.log\nout/\n",
        **{"in": "!b.log\nc.txt\n", "out": "!d.txt\n"},
    )
    assert found(tmp_path) == ["in/b.log"]


def test_files_around_the_folder_count_unless_they_leave_it_out(tmp_path: Path) -> None:
    write(tmp_path, "in/a.txt", "in/a.log", "out/b.txt", "out/b.log", here="*.log\nout/\n")
    assert found(tmp_path / "in") == ["a.txt"]
    assert found(tmp_path / "out") == ["b.log", "b.txt"]  # named, so it is read
    assert [path.name for path in discover([tmp_path / "in" / "a.log"])] == ["a.log"]
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert found(tmp_path / "link") == ["a.txt"]


def test_the_walk_and_the_question_about_a_path_agree(tmp_path: Path) -> None:
    names = ("a/b/c.txt", "a/b/d.log", "a/e/f.txt", "g.txt", "a/h.log")
    write(tmp_path, *names, here="a/e/\n*.log\n", a="!h.log\n")
    ignored = Ignored(tmp_path)
    kept = [name for name in names if not ignored.has_below(str(tmp_path / name))]
    assert sorted(kept) == found(tmp_path) == ["a/b/c.txt", "a/h.log", "g.txt"]


@pytest.mark.parametrize("content", [b"!\n", b"\xff\xfe"])
def test_patterns_that_cannot_be_read_set_their_folder_aside(
    tmp_path: Path, content: bytes
) -> None:
    write(tmp_path, "in/secret.txt", "b.txt")
    (tmp_path / "in" / NAME).write_bytes(content)
    refused: list[Failure] = []
    unread: list[Path] = []
    paths = list(discover([tmp_path], refused.append, unread.append))
    assert ([path.name for path in paths], unread) == (["b.txt"], [tmp_path])
    assert (refused[0].uri, refused[0].error) == (str(tmp_path / "in"), "IgnoreFileError")
    assert str(tmp_path / "in" / NAME) in refused[0].reason
    assert "Fix or remove it" in refused[0].reason
