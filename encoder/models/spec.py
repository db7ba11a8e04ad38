"""The name of a model, as people write it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from encoder.errors import ModelError
from encoder.models.sources.bundle.declaration import resolve

Kind: TypeAlias = Literal["bundle", "hf", "dir"]

DEFAULT_MODEL = "bundle:default"
"""The model where none is named: a bundle, and for a store that a bundle made, that one."""

_KINDS = "Use bundle:default, hf:org/name, hf:org/name@revision or dir:path."


@dataclass(frozen=True)
class ModelSpec:
    """Which model, and where it comes from.

    Args:
        kind: ``bundle`` (offline), ``hf`` (a model hub) or ``dir`` (a folder of a hub's layout).
        name: of a bundle, ``org/name``, or the absolute path of a folder.
        revision: of a hub model: a branch, tag or commit; None takes the newest.
    """

    kind: Kind
    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelSpec:
        """Read ``bundle:name``, ``hf:org/name@revision`` or ``dir:path``.

        ``bundle:default`` becomes the bundle that it stands for.

        Raises:
            ModelError: it is of no known kind, or there is no such bundle or folder.

        >>> ModelSpec.parse("hf:org/name@v1")
        ModelSpec(kind='hf', name='org/name', revision='v1')
        """
        kind, _, name = text.partition(":")
        if kind == "dir" and name:
            return cls("dir", _existing(Path(name).expanduser()))
        if kind == "hf" and name:
            name, _, revision = name.partition("@")
            return cls("hf", name, revision or None)
        if kind == "bundle" and name:
            return cls("bundle", resolve(name))
        raise ModelError(f"The model {text!r} is of no known kind.", remedy=_KINDS)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" + (f"@{self.revision}" if self.revision else "")


def stands_for(name: str, model: str) -> bool:
    """Whether ``model`` satisfies a request for ``name``; any bundle satisfies the default.

    >>> stands_for("bundle:default", "bundle:english"), stands_for("bundle:default", "hf:a/b")
    (True, False)
    """
    return name == model or (name == DEFAULT_MODEL and model.startswith("bundle:"))


def _existing(folder: Path) -> str:
    if not folder.is_dir():
        raise ModelError(f"The model folder {folder} does not exist.", remedy=_KINDS)
    return str(folder.absolute())
