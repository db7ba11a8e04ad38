"""What a child may import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from encoder.system import children

ROOT = Path(children.__file__).parents[2]


def test_no_entry_leads_to_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    kept = str(tmp_path / "installed")
    users = ["", ".", "relative", str(tmp_path), str(tmp_path / "link")]
    monkeypatch.setattr(sys, "path", [*users, kept])
    assert children.import_path() == kept
    assert children.environment()["PYTHONPATH"] == kept


def test_a_checkout_that_is_the_current_folder_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", ["", str(ROOT)])
    assert children.import_path() == str(ROOT)


def test_a_script_starts_children_that_do_not_see_its_folder(tmp_path: Path) -> None:
    (tmp_path / "struct.py").write_text("raise SystemExit('the script folder was imported')")
    script = tmp_path / "script.py"
    script.write_text(
        # the script itself sees its folder, so it takes what it needs beforehand
        "import sys; here = sys.path.pop(0)\n"
        "import subprocess; from encoder.system import children\n"
        "sys.path.insert(0, here)\n"
        "child = subprocess.run(children.python('struct'), env=children.environment())\n"
        "sys.exit(child.returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=os.sep, capture_output=True, text=True, check=False
    )
    assert "imported" not in done.stderr
    assert done.returncode == 0, done.stderr
