"""The model of the offline bundle: three towers that meet in MiniLM's sentence space."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.models.base import Model
from encoder.models.bundle import location
from encoder.models.parts import PARTS
from encoder.models.precision import Precision
from encoder.models.sparsity import Sparsity, Wish
from encoder.space import Calibration, Space
from encoder.towers import image, text
from encoder.towers.base import Tower
from encoder.towers.lazy import LazyTower
from encoder.towers.sparse_text import SparseTextTower
from encoder.towers.windowed_text import WindowedTextTower
from encoder.types import AUDIO, IMAGE, TEXT, Modality

if TYPE_CHECKING:
    from encoder.towers.audio import AudioTower

TABLES = Path(__file__).parent / "tables"
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
        home: where the bundle is, instead of `encoder.models.bundle.cache_home`.
        n_threads: threads of one network; None for every core.
        quantization: see `Precision.parse`.
        enable_dsre: see `Sparsity.parse`.

    Raises:
        BundleError: the bundle is not there or not whole.
        ModelError: the quantization or the gate is of no known kind.
        InputError: chunks that no gate can work with.
    """
    folder = location(home)
    precision = Precision.parse(quantization)
    sparsity = Sparsity.parse(enable_dsre, precision)

    def load_text() -> Tower:
        session = precision.open(folder, "text", n_threads)
        tokenizer = text.load_tokenizer(folder / "text" / "tokenizer.json", max_tokens=None)
        if sparsity is None:
            return WindowedTextTower(tokenizer, text.TextTower(tokenizer, session))
        sparse = sparsity.network(folder, precision, n_threads)
        inner = SparseTextTower(tokenizer, session, sparse)
        return WindowedTextTower(tokenizer, inner, sparsity.chunk_gate(folder))

    def load_image() -> Tower:
        return image.ImageTower(precision.open(folder, "image", n_threads), image_labels())

    def load_audio() -> AudioTower:
        from encoder.towers import audio

        session = precision.open(folder, "audio", n_threads)
        return audio.load(folder, text_tower, n_threads=n_threads, session=session)

    text_tower = LazyTower(load_text)
    audio_tower = LazyTower(load_audio)
    towers: dict[Modality, Tower] = {
        TEXT: text_tower,
        IMAGE: LazyTower(load_image),
        AUDIO: audio_tower,
    }
    identity = _identity(precision, sparsity)
    return Model(
        space=Space(_EMBED_DIM, identity, _calibration()),
        towers=towers,
        transcribe=lambda sound: audio_tower.tower.transcribe(sound),
    )


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
