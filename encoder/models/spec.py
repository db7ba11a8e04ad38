"""The name of a model, as people write it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from encoder.errors import ModelError
from encoder.models.bundle.declaration import resolve

SourceKind: TypeAlias = Literal["bundle", "hf", "dir", "remote"]

DEFAULT_MODEL = "bundle:default"
"""The model if none is named: a bundle; for a store that a bundle made, that bundle."""

_KINDS = "Use bundle:default, hf:org/name, hf:org/name@revision, dir:path, or remote:name@http://host/v1."
_CUT = re.compile(r"(.+)#([1-9][0-9]*)")
_SERVED = re.compile(r"(.+)@(https?://[^\s/@?#]+(?:/[^\s@?#]*)?)")


@dataclass(frozen=True)
class ModelSpec:
    """Which model, and where it comes from.

    Args:
        kind: ``bundle`` (offline), ``hf`` (a model hub), ``dir`` (a folder of a hub's layout) or
            ``remote`` (a server with OpenAI's ``/v1/embeddings``).
        name: of a bundle, ``org/name``, the absolute path of a folder, or as a server calls it.
        revision: of a hub model: a branch, tag or commit; None takes the newest.
        cut: how many dimensions of its embeddings are kept (Matryoshka); None for all.
        url: of the server of a remote model, with ``/v1``; it changes no vector.
    """

    kind: SourceKind
    name: str
    revision: str | None = None
    cut: int | None = None
    url: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelSpec:
        """Read ``bundle:name``, ``hf:org/name@revision``, ``dir:path``, ``remote:name@url``.

        ``bundle:default`` becomes the bundle that it stands for. ``#256`` after a name keeps that
        many dimensions.

        Raises:
            ModelError: it is of no known kind, or there is no such bundle or folder.

        >>> ModelSpec.parse("hf:org/name@v1")
        ModelSpec(kind='hf', name='org/name', revision='v1', cut=None, url=None)
        >>> str(ModelSpec.parse("hf:org/name@v1#256").whole)
        'hf:org/name@v1'
        """
        source_kind, _, name = text.partition(":")
        cut: int | None = None
        if (with_cut := _CUT.fullmatch(name)) and not (
            source_kind == "dir" and Path(name).is_dir()
        ):
            name, cut = with_cut[1], int(with_cut[2])
        if source_kind == "dir" and name:
            folder = Path(name).expanduser()
            if not folder.is_dir():
                raise ModelError(f"The model folder {folder} does not exist.", remedy=_KINDS)
            return cls("dir", str(folder.absolute()), cut=cut)
        if source_kind == "hf" and name:
            name, _, revision = name.partition("@")
            return cls("hf", name, revision or None, cut)
        if source_kind == "bundle" and name:
            return cls("bundle", resolve(name), cut=cut)
        if source_kind == "remote":
            if served := _SERVED.fullmatch(name):
                return cls("remote", served[1], cut=cut, url=served[2].rstrip("/"))
            raise ModelError(
                "A remote model is a name and a server's URL, without a user or a question mark.",
                remedy="Use remote:name@http://host:8080/v1; keys are in ANYMODAL_ENCODER__KEYS.",
            )
        raise ModelError(f"The model {text!r} is of an unknown kind.", remedy=_KINDS)

    def __str__(self) -> str:
        where = self.revision or self.url
        at = f"@{where}" if where else ""
        return f"{self.kind}:{self.name}{at}" + (f"#{self.cut}" if self.cut else "")

    @property
    def whole(self) -> ModelSpec:
        """The same model with all dimensions."""
        return replace(self, cut=None)


def stands_for(name: str, model: str) -> bool:
    """Whether ``model`` satisfies a request for ``name``; any bundle satisfies the default.

    >>> stands_for("bundle:default", "bundle:english"), stands_for("bundle:default", "hf:a/b")
    (True, False)
    """
    return name == model or (name == DEFAULT_MODEL and model.startswith("bundle:"))
