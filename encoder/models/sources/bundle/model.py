"""The model of the offline bundle: three towers that meet in MiniLM's sentence space."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.models.base import Model
from encoder.models.in_use import hold
from encoder.models.precision import Precision
from encoder.models.sources.bundle.folder import location
from encoder.models.sources.bundle.networks import network, parse_precision, parse_sparsity
from encoder.models.sources.bundle.parts import PARTS
from encoder.models.sparsity import Sparsity, Wish
from encoder.space import Calibration, Space
from encoder.towers import image, text
from encoder.towers.base import Tower
from encoder.towers.lazy import LazyTower
from encoder.towers.sparse_text import SparseTextTower
from encoder.towers.windowed_text import WindowedTextTower
from encoder.types import AUDIO, IMAGE, TEXT, Modality

if TYPE_CHECKING:
    from encoder.runtime.base import Session
    from encoder.towers.audio import AudioTower

TABLES = Path(__file__).parent / "tables"
SOUND_LABELS = TABLES / "sound_labels.npz"
_CALIBRATION = "calibration.json"
_EMBED_DIM = 384


def load(
    home: Path | None = None,
    *,
    n_threads: int | None = None,
    quantization: str | None = None,
    enable_dsre: Wish = False,
) -> Model:
    """Assemble the model; each tower loads on first use.

    Args:
        home: where the bundle is, instead of `encoder.models.locations.cache_home`.
        n_threads: threads of one network; None for every core.
        quantization: see `Precision.parse`.
        enable_dsre: see `Sparsity.parse`.

    Raises:
        BundleError: the bundle is not there or not whole.
        ModelError: the quantization or the gate is of no known kind.
        InputError: chunks that no gate can work with.
    """
    folder = location(home)
    precision = parse_precision(quantization)
    sparsity = parse_sparsity(enable_dsre, precision)

    def load_text() -> Tower:
        session = precision.open(network(folder, "text"), n_threads)
        tokenizer = text.load_tokenizer(folder / "text" / "tokenizer.json", max_tokens=None)
        if sparsity is None:
            return WindowedTextTower(tokenizer, text.TextTower(tokenizer, session))
        sparse = sparsity.network(folder / "text", precision, n_threads)
        inner = SparseTextTower(tokenizer, session, sparse)
        return WindowedTextTower(tokenizer, inner, sparsity.chunk_gate(folder / "text"))

    def load_image() -> Tower:
        session = precision.open(network(folder, "image"), n_threads)
        return image.ImageTower(session, image_labels())

    def load_audio() -> AudioTower:
        session = precision.open(network(folder, "audio"), n_threads)
        return audio_tower(folder, text_tower, session)

    text_tower = LazyTower(load_text)
    sounds = LazyTower(load_audio)
    towers: dict[Modality, Tower] = {
        TEXT: text_tower,
        IMAGE: LazyTower(load_image),
        AUDIO: sounds,
    }
    identity = _identity(precision, sparsity)
    model = Model(
        space=Space(_EMBED_DIM, identity, _calibration()),
        towers=towers,
        transcribe=lambda sound: sounds.tower.transcribe(sound),
    )
    hold(folder, model)
    return model


def audio_tower(folder: Path, text_tower: Tower, session: Session) -> AudioTower:
    """The tower of sounds, which takes the part ``speech`` of the bundle in ``folder``.

    Args:
        folder: the bundle's folder.
        text_tower: embeds what is said.
        session: runs the sound network.
    """
    from encoder.towers.audio import AudioTower
    from encoder.towers.sound_labels import load_sound_labels
    from encoder.towers.speech import Speech

    # A second thread makes the tiny model no faster (135 ms a sentence, and 152 with two), and the
    # sound network needs that core beside it.
    speech = Speech(folder / "speech", n_threads=1)
    return AudioTower(session, speech, load_sound_labels(SOUND_LABELS), text_tower)


def image_labels() -> NDArray[np.float16]:
    """The places of the image network's classes in the space, [n_classes, embed_dim]."""
    with np.load(TABLES / "image_labels.npz", allow_pickle=False) as tables:
        labels: NDArray[np.float16] = tables["embeddings"]
    return labels


def _identity(precision: Precision, sparsity: Sparsity | None) -> dict[str, str]:
    """Everything that changes a vector; calibration does not."""
    tables = hashlib.sha256()
    for path in sorted(TABLES.iterdir()):
        if path.is_file() and path.name != _CALIBRATION:
            tables.update(path.name.encode() + path.read_bytes())
    weights = {part.name: f"{part.identity} recipe:{part.recipe}" for part in PARTS}
    identity = {**weights, "tables": f"sha256:{tables.hexdigest()}"}
    if precision.identity:
        identity["quantization"] = precision.identity
    return identity | ({"dsre": sparsity.identity} if sparsity else {})


def _calibration() -> dict[Modality, Calibration]:
    constants = json.loads((TABLES / _CALIBRATION).read_text("utf-8"))
    return {
        Modality(name): Calibration(mu=values["mu"], c=values["c"])
        for name, values in constants.items()
    }
