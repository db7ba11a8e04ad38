"""The files of compose/, read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
CHART = COMPOSE / "helm"
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


class Loader(yaml.SafeLoader):
    """Reads Compose's ``!reset`` as nothing."""


Loader.add_constructor("!reset", lambda *_: None)

STACK: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
OURS = {name: s for name, s in SERVICES.items() if "build" in s}
DOCKERFILE = (COMPOSE / "Dockerfile").read_text()


def filled(text: str) -> str:
    """The text with every variable at its default."""
    return VARIABLE.sub(lambda found: found[2], text)


def rendered(**values: Any) -> list[dict[str, Any]]:
    """The objects that Helm makes of our chart with these values."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values, name="anymodal", namespace="search")
    manifests = [text for name, text in files.items() if name.endswith(".yaml")]
    return [thing for text in manifests for thing in yaml.safe_load_all(text) if thing]


def seconds(duration: str) -> float:
    """The seconds of ``90s``."""
    assert duration.endswith("s")
    return float(duration[:-1])


def size_bytes(text: str) -> int:
    """The bytes of ``8G`` or ``768mb``."""
    found = re.fullmatch(r"(\d+)([kmg])b?", filled(str(text)).lower())
    assert found, text
    return int(found[1]) * 1024 ** ("kmg".index(found[2]) + 1)


def pins(lock: str) -> dict[str, str]:
    """The versions of a lock file by name."""
    lines = (COMPOSE / lock).read_text().splitlines()
    found = [re.match(r"([A-Za-z0-9_.-]+)==(\S+)", line) for line in lines]
    return {f[1].lower().replace("_", "-"): f[2] for f in found if f}
