"""Modalities that plug-ins add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from threading import Lock
from typing import Any

from encoder.errors import InputError
from encoder.towers.base import PluginTower
from encoder.towers.model import Model
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, TEXT, VIDEO, Modality, Role

TowerFactory = Callable[[Model], PluginTower]
"""Builds a tower that matches the model's space; called once per encoder, on first use."""

_GROUPS: Mapping[Role, str] = {DOCUMENT: "anymodal.modalities", QUERY: "anymodal.queries"}
_factories: dict[tuple[Modality, Role], TowerFactory] = {}
_lock = Lock()


def register_modality(
    name: str, factory: TowerFactory, *, queries: TowerFactory | None = None
) -> Modality:
    """Add a modality to every `encoder.MultiModalEncoder` made from now on.

    A package can do without this call: entry points in the groups ``anymodal.modalities`` and
    ``anymodal.queries``, named after the modality and naming a factory, are found automatically.

    Args:
        name: becomes a keyword of ``encode_multimodal``; see `encoder.types.Modality`.
        factory: takes the encoder's `Model` and returns a `Tower`, or one whose ``forward``
            returns bare rows.
        queries: the same for queries, where they are encoded differently from documents.

    Raises:
        InputError: the name is not valid, built in, or taken by another factory.
    """
    modality = Modality(name)
    with _lock:
        registered = _factories.get((modality, DOCUMENT), factory)
        if modality in (TEXT, IMAGE, AUDIO, VIDEO) or registered != factory:
            raise InputError("name", got=f"{name!r}, which is taken", wanted="a new modality")
        _factories[modality, DOCUMENT] = factory
        if queries is not None:
            _factories[modality, QUERY] = queries
    return modality


def registered_modalities(role: Role = DOCUMENT) -> Mapping[Modality, TowerFactory]:
    """All factories: those registered by call, then those of installed packages.

    Args:
        role: for "query", the few that encode queries differently.
    """
    called = {modality: factory for (modality, of), factory in _factories.items() if of == role}
    return {**_installed(role), **called}


def origin_of(modality: Modality) -> str:
    """Where a modality comes from: a package and its version, or what was registered by call.

    Raises:
        InputError: nothing provides it.
    """
    if factory := _factories.get((modality, DOCUMENT)):
        name = getattr(factory, "__qualname__", type(factory).__qualname__)
        return f"{factory.__module__}.{name}"
    for point in installed_points().select(group=_GROUPS[DOCUMENT], name=modality):
        return f"{point.dist.name} {point.dist.version}" if point.dist else str(point.value)
    names = ", ".join(sorted(registered_modalities())) or "none is registered"
    raise InputError("modality", got=repr(str(modality)), wanted=f"a registered one: {names}")


@cache
def installed_points() -> Any:
    """The entry points of all packages; cached, since finding their files takes time."""
    return entry_points()  # an EntryPoints; in Python 3.11, a SelectableGroups


@cache
def _installed(role: Role) -> Mapping[Modality, TowerFactory]:
    points = installed_points().select(group=_GROUPS[role])
    return {Modality(point.name): point.load() for point in points}
