"""Opens the services that lie here as parts of bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from encoder.models.bundle.declaration import (
    DEFAULT,
    all_bundles,
    bundle_folder,
    problem_with,
    read_bundle,
)
from encoder.models.bundle.kinds import Opening, kind_named
from encoder.models.precision import FLOAT32
from encoder.services.text_services import TextServices
from encoder.system.cache import hold


def open_services(model: str, n_threads: int | None = None) -> TextServices:
    """The services for a model, by its name; their weights load on first use.

    A bundle has its own: what it does is the same whatever else was fetched. Any other model has
    those of the default bundle, else of another one. A part is enough, the bundle need not be
    whole.
    """
    source, _, name = model.partition(":")
    if source == "bundle":
        bundles = [read_bundle(name)]
    else:
        bundles = sorted(all_bundles(), key=lambda bundle: bundle.name != DEFAULT)
    folders: dict[str, Path] = {}
    alone: dict[str, Any] = {}

    def opened(name: str) -> Any | None:
        for bundle in bundles:
            part, folder = bundle.parts.get(name), bundle_folder(bundle)
            if part and not problem_with(folder, part):
                folders[name] = folder
                opening = Opening(
                    part,
                    folder / name,
                    precision=FLOAT32,
                    gate=None,
                    n_threads=n_threads,
                    other=alone.__getitem__,
                )
                return kind_named(part.kind).open(opening)
        return None

    services = TextServices(opened("ocr"), opened("speech"))
    for folder in folders.values():
        hold(folder, services)
    return services
