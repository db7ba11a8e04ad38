"""A release, in the two steps between which `make release` checks and builds.

`ready` refuses what cannot be released; `publish` uploads `dist/` and sets the tag. The index is
that of uv's variables, or PyPI: `UV_PUBLISH_URL` takes files, `UV_PUBLISH_CHECK_URL` lists them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx2

UV = str(Path(sys.executable).with_name("uv"))
NAMES = ("anymodal", "anymodal-client")
PYPI = "https://pypi.org/simple/"


def ready() -> str:
    """The version to release. Ends the program if it cannot be."""
    if changes := _git("status", "--porcelain"):
        raise SystemExit(f"The working tree has changes; commit or remove them first:\n{changes}")
    version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    another = "Set the next version, as RELEASING.md says."
    if _git("tag", "--list", f"v{version}"):
        raise SystemExit(f"The tag v{version} is there already. {another}")
    for name in NAMES:
        if is_published(name, version):
            raise SystemExit(f"{index()} has {name} {version} already. {another}")
    return version


def index() -> str:
    """The address of the index's lists of files."""
    url = os.environ.get("UV_PUBLISH_CHECK_URL", "")
    if not url and "UV_PUBLISH_URL" in os.environ:
        raise SystemExit(
            "UV_PUBLISH_URL is set, and UV_PUBLISH_CHECK_URL is not: set it to where that index "
            "lists its files, mostly an address that ends in /simple/."
        )
    return url or PYPI


def is_published(name: str, version: str) -> bool:
    """Whether the index lists a file of this version."""
    answer = httpx2.get(f"{index().rstrip('/')}/{name}/", follow_redirects=True, timeout=60)
    if answer.status_code == 404:
        return False
    answer.raise_for_status()
    stem = f"{name.replace('-', '_')}-{version}"
    return f"{stem}-py3" in answer.text or f"{stem}.tar.gz" in answer.text


def publish(version: str) -> None:
    """Upload what was built of it, then set the tag here."""
    files = [str(file) for file in Path("dist").iterdir() if f"-{version}" in file.name]
    subprocess.run([UV, "publish", *sorted(files)], check=True)
    _git("tag", "--annotate", f"v{version}", "--message", f"anymodal {version}")
    print(f"anymodal {version} is published. Push its tag: git push origin v{version}")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    version = ready()
    if sys.argv[1] == "publish":
        publish(version)
