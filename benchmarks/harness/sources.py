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


COMMON_VOICE = Repository(
    "https://github.com/omnilingo/rsample-100-cv-corpus-6.1-2020-12-11",
    "6785f863fec9770151abfe50a5e3e3787fd20ba2",
    "CC0 1.0",
)
ESC_50 = Repository(
    "https://github.com/caitlinnguyen0/ESC-50",
    "7085beb71d02eb515b8bad56ad2a29e8fa0dcd08",
    "CC BY-NC 3.0",
)
ESC_10 = Repository(
    "https://github.com/karolpiczak/ESC-10",
    "553c8f1743b9dba6b282e1323c3ca8fa76923448",
    "CC BY 3.0",
)
