"""Which files of a folder are found."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ingest import Failure, discover, ingest
from ingest.sources.ignored import NAME, Ignored


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def found(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in discover([root])]


def test_folders_are_walked_in_order(tmp_path: Path) -> None:
    tree(tmp_path, "b.txt", "a.txt", "c/z.txt", "c/d/y.txt", "b/x.txt")
    assert found(tmp_path) == ["a.txt", "b.txt", "b/x.txt", "c/z.txt", "c/d/y.txt"]


def test_hidden_entries_are_left_out_but_may_be_named(tmp_path: Path) -> None:
    tree(tmp_path, ".git/config", ".hidden", "a.txt", ".cache/b.txt")
    assert found(tmp_path) == ["a.txt"]
    assert found(tmp_path / ".cache") == ["b.txt"]
    assert list(discover([tmp_path / ".hidden"])) == [tmp_path / ".hidden"]


def test_links_are_not_followed_unless_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree(tmp_path, "in/a.txt", "out/secret.txt")
    inside = tmp_path / "in"
    (inside / "again.txt").symlink_to(inside / "a.txt")
    (inside / "loop").symlink_to(inside)
    (inside / "leak").symlink_to(tmp_path / "out")
    refused: list[Failure] = []
    assert [path.name for path in discover([inside], refused.append)] == ["a.txt"]
    assert [Path(failure.uri).name for failure in refused] == ["leak"]
    assert refused[0].error == "RefusedLinkError"
    assert f"leads out of the folder, to {tmp_path / 'out'}." in refused[0].reason
    assert found(inside) == ["a.txt"]
    assert "leads out of the folder" in caplog.text
    assert [path.name for path in discover([inside / "leak"])] == ["secret.txt"]


def test_links_that_lead_nowhere_are_refused_with_their_reason(tmp_path: Path) -> None:
    tree(tmp_path, "in/a.txt", "in/b/c.txt", "in/.annex/key", "in/plain")
    inside = tmp_path / "in"
    links = {
        "dangling": "nowhere/at/all",
        "itself": "itself",
        "ping": "pong",
        "pong": "ping",
        "past": "plain/x",
        "content": ".annex/key",
        "out": "../gone",
        "b/up": "..",
        "fine": "b/c.txt",
        "chain": "fine",
    }
    for name, target in links.items():
        (inside / name).symlink_to(target)
    refused: list[Failure] = []
    assert [p.name for p in discover([inside], refused.append)] == ["a.txt", "plain", "c.txt"]
    reasons = {Path(failure.uri).name: failure.reason for failure in refused}
    assert {failure.error for failure in refused} == {"RefusedLinkError"}
    assert set(reasons) == {"dangling", "itself", "ping", "pong", "past", "content", "out"}
    assert "leads nowhere: nowhere/at/all does not exist." in reasons["dangling"]
    assert "leads nowhere: ../gone does not exist." in reasons["out"]
    assert "leads in a circle through itself." in reasons["itself"]
    assert "leads in a circle through pong." in reasons["ping"]
    assert "cannot be followed to plain/x: Not a directory." in reasons["past"]
    assert f"leads to a hidden entry, {inside}/.annex/key" in reasons["content"]
    assert all("Fix or remove it" in reason for reason in reasons.values())


def test_pipes_and_sockets_are_refused_with_their_reason(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        refused: list[Failure] = []
        segments = list(ingest([tmp_path, "/dev/null"], on_failure=refused.append))
    assert [segment.content for segment in segments] == ["x"]
    reasons = {Path(failure.uri).name: failure.reason for failure in refused}
    assert reasons.keys() == {"pipe", "sock", "null"}
    assert "is a named pipe (FIFO), not a file" in reasons["pipe"]
    assert "is a socket, not a file" in reasons["sock"]
    assert "is a character device, not a file" in reasons["null"]


def test_named_paths_are_given_back_as_they_are(tmp_path: Path) -> None:
    missing = tmp_path / "missing.txt"
    assert list(discover([missing, str(missing)])) == [missing, missing]


def test_folders_may_be_nested_deeply(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 400)
    deep.mkdir(parents=True)
    (deep / "a.txt").write_text("x")
    assert [path.name for path in discover([tmp_path])] == ["a.txt"]


def test_a_large_folder_is_streamed(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{i % 10}/{i}.txt" for i in range(300)))
    files = discover([tmp_path])
    assert next(files).parent.name == "0"
    assert sum(1 for _ in files) == 299


def write(root: Path, *names: str, **patterns: str) -> None:
    """Files, and ignore files by folder: ``here`` for the root, ``a_b`` for ``a/b``."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for folder, lines in patterns.items():
        (root / folder.replace("here", ".").replace("_", "/") / NAME).write_text(lines)


def kept_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in discover([folder]))


def test_patterns_are_those_of_gitignore(tmp_path: Path) -> None:
    write(
        tmp_path,
        *("a.tmp", "keep.tmp", "b.txt", "drafts/a.txt", "sub/drafts/c.txt", "sub/top.txt"),
        *("top.txt", "# no", "x/y/z.log", "x/z.log", "drafts.txt"),
        here="*.tmp\n!keep.tmp\n\n# a comment\ndrafts/\n/top.txt\nx/**/z.log\n\\# no\n",
    )
    assert kept_in(tmp_path) == ["b.txt", "drafts.txt", "keep.tmp", "sub/top.txt"]


def test_the_nearest_file_wins_and_nothing_comes_back_from_a_folder_left_out(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        *("a.log", "in/b.log", "in/c.txt", "out/d.txt"),
        here="*.log\nout/\n",
        **{"in": "!b.log\nc.txt\n", "out": "!d.txt\n"},
    )
    assert kept_in(tmp_path) == ["in/b.log"]


def test_files_around_the_folder_count_unless_they_leave_it_out(tmp_path: Path) -> None:
    write(tmp_path, "in/a.txt", "in/a.log", "out/b.txt", "out/b.log", here="*.log\nout/\n")
    assert kept_in(tmp_path / "in") == ["a.txt"]
    assert kept_in(tmp_path / "out") == ["b.log", "b.txt"]  # named, so it is read
    assert [path.name for path in discover([tmp_path / "in" / "a.log"])] == ["a.log"]
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert kept_in(tmp_path / "link") == ["a.txt"]


def test_the_walk_and_the_question_about_a_path_agree(tmp_path: Path) -> None:
    names = ("a/b/c.txt", "a/b/d.log", "a/e/f.txt", "g.txt", "a/h.log")
    write(tmp_path, *names, here="a/e/\n*.log\n", a="!h.log\n")
    ignored = Ignored(tmp_path)
    kept = [name for name in names if not ignored.has_below(str(tmp_path / name))]
    assert sorted(kept) == kept_in(tmp_path) == ["a/b/c.txt", "a/h.log", "g.txt"]


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
