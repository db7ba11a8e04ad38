"""Modalities that plug-ins add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from threading import Lock

from encoder.errors import InputError
from encoder.models.base import Model
from encoder.towers.base import Tower
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Modality

TowerFactory = Callable[[Model], Tower]
"""Builds a tower that meets the model's space; called once per encoder, on first use."""

_factories: dict[Modality, TowerFactory] = {}
_lock = Lock()


def register_modality(name: str, factory: TowerFactory) -> Modality:
    """Add a modality to every `encoder.MultiModalEncoder` made from now on.

    A package can do without the call: an entry point in the group ``anymodal.modalities``,
    named after the modality and naming the factory, is found by itself.

    Args:
        name: becomes a keyword of ``encode_multimodal``; see `encoder.types.Modality`.
        factory: takes the encoder's `Model` and returns the `Tower`.

    Raises:
        InputError: the name is not valid, built in, or taken by another factory.
    """
    modality = Modality(name)
    with _lock:
        if modality in (TEXT, IMAGE, AUDIO, VIDEO) or _factories.get(modality, factory) != factory:
            raise InputError("name", got=f"{name!r}, which is taken", wanted="a new modality")
        _factories[modality] = factory
    return modality


def registered_modalities() -> Mapping[Modality, TowerFactory]:
    """All factories: those registered by call, then those of installed packages."""
    return {**_installed(), **_factories}


@cache
def _installed() -> Mapping[Modality, TowerFactory]:
    found = entry_points(group="anymodal.modalities")
    return {Modality(point.name): point.load() for point in found}
