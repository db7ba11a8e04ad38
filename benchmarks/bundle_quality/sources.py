"""Data from public repositories, fetched once and never committed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(".demo") / "bundle_quality"


@dataclass(frozen=True)
class Repository:
    """A repository at a commit.

    Args:
        url: for git, which may be configured to use a mirror (``url.<base>.insteadOf``).
        commit: 40 hex digits.
        licence: of the data.
    """

    url: str
    commit: str
    licence: str

    def files(self) -> Path:
        """Its files as of the commit, in a folder."""
        folder = FOLDER / f"{self.url.rpartition('/')[2]}-{self.commit[:10]}"
        if not folder.exists():
            scratch = folder.with_suffix(".partial")
            _git("clone", "--quiet", "--no-checkout", self.url, str(scratch))
            _git("-C", str(scratch), "checkout", "--quiet", self.commit)
            scratch.rename(folder)
        return folder


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)
