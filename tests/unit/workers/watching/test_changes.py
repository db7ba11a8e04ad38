"""Paths that changed: what is read, what is gone, what waits."""

from __future__ import annotations

import os
from pathlib import Path

from workers.library.watch import Changes, sort_out


def sorted_out(root: Path, *names: str) -> Changes:
    return sort_out([str(root / name) for name in names], [root], quiet_s=5.0)


def old(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (1, 1))
    return path


def test_each_path_is_taken_for_what_it_is_now(tmp_path: Path) -> None:
    old(tmp_path / "a.txt")
    (tmp_path / "new.txt").write_text("still being written")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a.txt")
    os.mkfifo(tmp_path / "pipe")
    found = sorted_out(tmp_path, "a.txt", "new.txt", "folder", "link", "pipe", "gone.txt", ".")
    assert found.paths == [str(tmp_path / "a.txt"), str(tmp_path / "folder")]
    assert found.gone == {str(tmp_path): [str(tmp_path / "gone.txt")]}
    assert found.later == {str(tmp_path / "new.txt")}


def test_hidden_and_ignored_entries_are_left_out(tmp_path: Path) -> None:
    for name in (".a", ".git/b", "c.tmp", "build/d.txt", "in/e.txt"):
        old(tmp_path / name)
    old(tmp_path / ".anymodalignore", "*.tmp\nbuild/\n")
    found = sorted_out(tmp_path, ".a", ".git/b", "c.tmp", "build/d.txt", "build", "in/e.txt")
    assert found.paths == [str(tmp_path / "in" / "e.txt")]
    assert not sorted_out(tmp_path, ".git/gone")
    assert sorted_out(tmp_path, "in/.anymodalignore", "in/e.txt").paths == [str(tmp_path / "in")]


def test_a_file_of_the_future_is_taken_at_once(tmp_path: Path) -> None:
    os.utime(old(tmp_path / "a.txt"), (1e10, 1e10))
    assert sorted_out(tmp_path, "a.txt").paths == [str(tmp_path / "a.txt")]


def test_what_lies_elsewhere_or_cannot_be_stored_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert not sort_out([str(tmp_path / "b.txt")], [tmp_path / "in"], 1.0)
    assert not sorted_out(tmp_path, os.fsdecode(b"\xff"))
