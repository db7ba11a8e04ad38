"""Sounds by aiSFX (Ma & Lerch 2022), joined with what the part ``speech`` hears."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoder.models.precision import Network
from encoder.models.sources.bundle.int8 import audio_identity
from encoder.models.sources.bundle.kinds.base import Kind, Opening
from encoder.models.sources.bundle.networks import files_of

if TYPE_CHECKING:
    from encoder.runtime.base import Session
    from encoder.runtime.trial import Inputs
    from encoder.towers.base import Tower
    from encoder.towers.sound.speech import Speech
    from encoder.towers.sound.tower import AudioTower


def network(folder: Path) -> Network:
    """Its files; a sound is one run, over its blocks."""
    return Network("audio", **files_of(folder), examples=_examples)


def audio_tower(session: Session, speech: Speech, labels: Path, text_tower: Tower) -> AudioTower:
    """The tower of sounds.

    Args:
        session: runs the sound network.
        speech: hears what is said.
        labels: a table of names of sounds.
        text_tower: embeds what is said.
    """
    from encoder.towers.sound.labels import load_sound_labels
    from encoder.towers.sound.tower import AudioTower

    return AudioTower(session, speech, load_sound_labels(labels), text_tower)


def _open(opening: Opening) -> AudioTower:
    session = opening.precision.open(network(opening.folder), opening.n_threads)
    labels = opening.part.tables["labels"]
    return audio_tower(session, opening.other("speech"), labels, opening.other("text"))


def _examples() -> Sequence[Inputs]:
    """A sound of 7 s."""
    return [{"blocks": np.random.default_rng(0).random((3, 100, 96), np.float32)}]


KIND = Kind(
    open=_open,
    prepare="encoder.models.prepare.bundle.graphs:prepare_audio",
    network=network,
    int8_identity=audio_identity,
    torch_network="encoder.models.prepare.bundle.networks:audio_network",
)
