"""Files and folders that only their owner may read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder.system.private import keep_private, private_folder, private_opener, tighten


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.lstat().st_mode):o}"


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_what_is_made_is_private_whatever_the_umask(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = private_folder(tmp_path / "a" / "b")
    with open(folder / "file", "x", opener=private_opener):
        pass
    assert [mode(p) for p in (tmp_path, folder.parent, folder, folder / "file")] == [
        "755",
        "700",
        "700",
        "600",
    ]
    keep_private()
    (folder / "later").touch()
    assert mode(folder / "later") == "600"


def test_what_was_left_open_is_tightened(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch(0o644)
    folder = tmp_path / "store"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "file").touch(0o664)
    (folder / "run").touch(0o755)
    (folder / "link").symlink_to(outside)
    tighten(folder)
    private = [mode(folder / name) for name in (".", "in", "in/file", "run")]
    assert private == ["700", "700", "600", "700"]
    assert mode(outside) == "644"
    tighten(tmp_path / "none")
