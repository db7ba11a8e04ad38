"""The images of the stack where no registry can be reached: all from a Debian root made here."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from tests.compose.engine import Engine, run
from tests.support.compose_files import COMPOSE, ROOT

HERE = Path(__file__).parent / "containerfiles"
RELEASE = "trixie"
DEBIAN = f"localhost/debian:{RELEASE}"
PYTHON = f"localhost/python:3.11-{RELEASE}"
OURS = "localhost/anymodal:test"
REDIS = "localhost/redis:debian"
MILVUS = "localhost/milvus:2.3.5"
NGINX = "localhost/nginx:debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
OTHERS = ((PYTHON, "python"), (REDIS, "redis"), (MILVUS, "milvus"), (NGINX, "nginx"))
_BUILD_S = 3000.0


def make_images(engine: Engine) -> None:
    """Build the missing images, and always ours.

    Raises:
        RuntimeError: a build failed.
    """
    if not engine.has_image(DEBIAN):
        _debian(engine)
    for tag, file in OTHERS:
        if not engine.has_image(tag):
            _build(engine, tag, HERE / f"{file}.Containerfile", HERE)
    _build(
        engine,
        OURS,
        COMPOSE / "Dockerfile",
        ROOT,
        f"--build-arg=BASE_IMAGE={PYTHON}",
    )


def _debian(engine: Engine) -> None:
    """Debian's smallest system, from the mirror that this machine uses."""
    root = engine.folder / "debian"
    shutil.rmtree(root, ignore_errors=True)
    make = ["debootstrap", "--variant=minbase", "--include=ca-certificates", RELEASE, str(root)]
    run([*make, _mirror()], dict(os.environ), _BUILD_S)
    for file in Path("/etc/apt/apt.conf.d").glob("*"):  # proxies, and what a mirror needs
        shutil.copy(file, root / "etc" / "apt" / "apt.conf.d")
    archive = engine.folder / "debian.tar"
    pack: list[str | Path] = [
        "tar",
        "-C",
        root,
        "--exclude=./var/cache/apt/archives/*.deb",
        "-cf",
        archive,
        ".",
    ]
    run(pack, dict(os.environ), 600)
    engine.podman("import", archive, DEBIAN, timeout_s=600)
    archive.unlink()
    shutil.rmtree(root)


def _mirror() -> str:
    """The Debian archive that apt uses on this machine."""
    show = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    found = run(show, dict(os.environ), 60).split()
    mirrors = [uri for uri in found if re.fullmatch(r"https?://.*/debian/?", uri)]
    return mirrors[0] if mirrors else "http://deb.debian.org/debian"


def _build(engine: Engine, tag: str, file: Path, context: Path, *more: str) -> None:
    """Build with this machine's network, certificates and package index, not kept in the image."""
    settings = engine.folder / "pip.conf"
    settings.write_text(_pip_settings())
    mounts = [f"--volume={settings}:/etc/pip.conf:ro"]
    if CERTIFICATES.exists():
        mounts.append(f"--volume={CERTIFICATES}:{CERTIFICATES}:ro")
    engine.podman(
        "build", "--network=host", "--format=docker", *mounts, *more,
        f"--tag={tag}", f"--file={file}", context, timeout_s=_BUILD_S,
    )  # fmt: skip


def _pip_settings() -> str:
    """This user's pip configuration of indexes, in pip's own format."""
    shown = run([sys.executable, "-m", "pip", "config", "list"], dict(os.environ), 60)
    wanted = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
    lines = ["[global]"]
    for line in shown.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in wanted:
            lines.append(f"{name} = {value.strip(chr(39))}")
    if CERTIFICATES.exists():
        lines.append(f"cert = {CERTIFICATES}")
    return "\n".join(lines) + "\n"
