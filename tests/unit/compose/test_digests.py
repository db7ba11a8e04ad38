"""Every third-party image is named by its digest: a tag can be moved, a digest cannot."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.support.compose_files import COMPOSE, OURS, SERVICES, filled

PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}")
OTHERS = {name: service["image"] for name, service in SERVICES.items() if name not in OURS}


class Loader(yaml.SafeLoader):
    """Reads Compose's ``!reset`` as nothing."""


Loader.add_constructor("!reset", lambda *_: None)


def images(file: str) -> set[str]:
    """The images that a file of compose/ or kubernetes/ names."""

    def walk(part: Any) -> set[str]:
        found: set[str] = set()
        if isinstance(part, dict):
            found = {part["image"]} if isinstance(part.get("image"), str) else set()
            part = list(part.values())
        return found.union(*map(walk, part)) if isinstance(part, list) else found

    whole = yaml.load_all((COMPOSE / file).read_text(), Loader)
    return {filled(image) for image in walk(list(whole))}


FILES = ("compose.yaml", "compose.proxy.yaml", "kubernetes/anymodal.yaml")


@pytest.mark.parametrize("file", FILES)
def test_every_image_has_its_tag_and_its_digest(file: str) -> None:
    ours = {filled(service["image"]) for service in OURS.values()}
    others = images(file) - ours
    assert others
    for image in others:
        assert PINNED.fullmatch(image), image


def test_the_chart_runs_the_milvus_of_compose() -> None:
    values = yaml.safe_load((COMPOSE / "kubernetes" / "milvus.values.yaml").read_text())
    image = f"milvusdb/milvus:{values['image']['all']['tag']}"
    assert image == OTHERS["milvus"]
    assert PINNED.fullmatch(image)
