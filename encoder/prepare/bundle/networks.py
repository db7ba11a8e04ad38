"""The towers of a bundle as torch networks, and what calibrates them.

Serving does not need these: it runs the ONNX files that were prepared from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from encoder.errors import InputError, ModelError
from encoder.media.image import load_image
from encoder.media.sound import load_sound
from encoder.models.bundle.declaration import location, read_bundle
from encoder.models.spec import ModelSpec
from encoder.models.tower_folder import ONNX
from encoder.onnx.convolutions import LITE2
from encoder.prepare.calibration_files import BATCH_ITEMS, PICTURES, SOUNDS, files, mixed, texts
from encoder.system.batched import in_batches
from encoder.system.extras import require
from encoder.towers.audio.logmel import N_BANDS, mel_power
from encoder.towers.audio.tower import BLOCK_FRAMES, cut
from encoder.towers.image import to_pixels
from encoder.towers.text import load_tokenizer, pad

if TYPE_CHECKING:
    from torch import Tensor, nn

    from encoder.quant.calibration import Objective

Inputs: TypeAlias = "dict[str, Tensor]"


@dataclass(frozen=True, eq=False)
class TowerNetwork:
    """A network that the `Quantizer` exports itself.

    Args:
        module: takes its inputs by keyword.
        objective: what a loss is for it.
        dynamic_axes: the axes of each input that may vary.
        example: random inputs, to trace the network with.
        read: batches from a file or folder, of at most so many items; without a source, data that
            comes with the tower, if there is any. Raises an InputError if there is none.
    """

    module: nn.Module
    objective: Objective
    dynamic_axes: Mapping[str, Sequence[int]]
    example: Inputs
    read: Callable[[Path | None, int], list[Inputs]]

    def write(
        self, module: nn.Module, folder: Path, _judges: Sequence[Any], _least_cosine: float
    ) -> dict[str, Any]:
        """Write what is served. Only weights are rounded, so the loss says how good it is."""
        from encoder.quant.export_onnx import export_onnx

        export_onnx(module, self.example, folder / ONNX, dynamic_axes=self.dynamic_axes)
        return {}


def load_network(model: str, tower: str, home: Path | None = None) -> TowerNetwork:
    """Load a tower as a torch network.

    Raises:
        ModelError: the model is no bundle.
        InputError: there is no such tower.
        BundleError: the bundle is not there or not whole.
    """
    require("A torch network", "torch")
    spec = ModelSpec.parse(model)
    if spec.kind != "bundle":
        raise ModelError(
            f"The towers of {model!r} cannot be loaded as torch networks.",
            remedy="Load the model with its own library, and pass it to encoder.Quantizer.",
        )
    bundle = read_bundle(spec.name)
    loaders = {name: _LOADERS.get(bundle_part.kind) for name, bundle_part in bundle.parts.items()}
    if not (load := loaders.get(tower)):
        names = ", ".join(name for name, loader in loaders.items() if loader)
        raise InputError("tower", got=repr(tower), wanted=names)
    return load(location(bundle, home) / tower)


def text_network(folder: Path) -> TowerNetwork:
    """MiniLM, from its part."""
    from encoder.networks.bert import load_sentence_bert

    tokenizer = load_tokenizer(folder / "tokenizer.json")

    def read(source: Path | None, max_items: int) -> list[Inputs]:
        ids = [tokenizer.encode(text).ids for text in texts(source, max_items)]
        # similar lengths in a batch: little padding; then mixed, so that any first few are a sample
        rows = [np.asarray(row) for row in sorted(ids, key=len)]
        padded = (pad(batch) for batch in mixed(in_batches(rows, BATCH_ITEMS)))
        return [_tensors(input_ids=ids, mask=mask) for ids, mask in padded]

    axes = {"input_ids": (0, 1), "mask": (0, 1)}
    example = _tensors(
        input_ids=np.random.default_rng(0).integers(1000, 9000, (2, 12)),
        mask=np.ones((2, 12), np.float32),
    )
    return TowerNetwork(load_sentence_bert(folder), "cosine", axes, example, read)


def image_network(folder: Path) -> TowerNetwork:
    """EfficientNet-Lite2, from its part."""
    from encoder.networks.convolutions import load_efficientnet_lite

    def read(source: Path | None, max_items: int) -> list[Inputs]:
        paths = files(source, PICTURES, "pictures", max_items)
        pixels = (to_pixels(load_image(path)) for path in paths)
        return [_tensors(pixels=np.stack(batch)) for batch in in_batches(pixels, BATCH_ITEMS)]

    module = load_efficientnet_lite(folder / "weights.pth", LITE2)
    example = _noise("pixels", 3, LITE2.image_side, LITE2.image_side)
    return TowerNetwork(module, "kl", {"pixels": (0,)}, example, read)


def audio_network(folder: Path) -> TowerNetwork:
    """The CNN of aiSFX, from its part."""
    from encoder.networks.convolutions import load_aisfx

    def read(source: Path | None, max_items: int) -> list[Inputs]:
        paths = files(source, SOUNDS, "sounds", max_items)
        blocks = (block for path in paths for block in cut(mel_power(load_sound(path))))
        return [_tensors(blocks=np.stack(batch)) for batch in in_batches(blocks, BATCH_ITEMS)]

    module = load_aisfx(folder / "weights.pth")
    example = _noise("blocks", BLOCK_FRAMES, N_BANDS)
    return TowerNetwork(module, "cosine", {"blocks": (0,)}, example, read)


def _tensors(**arrays: Any) -> Inputs:
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _noise(name: str, *shape: int) -> Inputs:
    return _tensors(**{name: np.random.default_rng(0).random((2, *shape), np.float32)})


_LOADERS = {"minilm": text_network, "conse": image_network, "aisfx": audio_network}
"""By the kind of a bundle's part; each takes its folder."""
