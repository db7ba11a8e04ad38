"""The towers of a bundle as torch networks, and what calibrates them.

Serving does not need these: it runs the ONNX files that were prepared from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from encoder.errors import InputError, ModelError
from encoder.extras import require
from encoder.models.sources.bundle.declaration import read_bundle
from encoder.models.sources.bundle.folder import location
from encoder.models.sources.bundle.kinds import called, kind_named
from encoder.models.sources.bundle.tables import IMAGE_LABELS
from encoder.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from encoder.quant.divergence import Objective

_BATCH = 16
_MIN_CHARACTERS = 20
_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
_SOUNDS = {".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus"}
_TEXTS = {".txt", ".md", ".rst"}

Inputs = dict[str, "Tensor"]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class TowerNetwork:
    """One tower's network, ready to be quantized.

    Args:
        module: takes its inputs by keyword.
        objective: what a loss is for it.
        dynamic_axes: the axes of each input that may vary.
        example: random inputs, to trace the network with.
        read: calibration batches from a file or folder (None for data that comes along), of
            so many items at most, evenly drawn.
    """

    module: nn.Module
    objective: Objective
    dynamic_axes: Mapping[str, Sequence[int]]
    example: Inputs
    read: Callable[[Path | None, int], list[Inputs]]


def load_network(model: str, tower: str, home: Path | None = None) -> TowerNetwork:
    """Load a tower as a torch network.

    Args:
        model: a bundle, such as ``bundle:english``.
        tower: ``text``, ``image`` or ``audio``.
        home: where the bundle is, instead of `encoder.models.locations.cache_home`.

    Raises:
        ModelError: the model is no bundle.
        InputError: there is no such tower.
        BundleError: the bundle is not there or not whole.
    """
    require("A network of torch", "torch")
    spec = ModelSpec.parse(model)
    if spec.kind != "bundle":
        raise ModelError(
            f"The towers of {model!r} cannot be loaded as networks of torch.",
            remedy="Load the model with its own library, and pass it to encoder.Quantizer.",
        )
    bundle = read_bundle(spec.name)
    functions = {name: kind_named(part.kind).torch_network for name, part in bundle.parts.items()}
    if not functions.get(tower):
        wanted = ", ".join(name for name, function in functions.items() if function)
        raise InputError("tower", got=repr(tower), wanted=wanted)
    network: TowerNetwork = called(functions[tower])(location(bundle, home) / tower)
    return network


def text_network(folder: Path) -> TowerNetwork:
    """MiniLM, from its part."""
    from encoder.networks.bert import load_sentence_bert
    from encoder.towers.text import load_tokenizer, pad

    tokenizer = load_tokenizer(folder / "tokenizer.json")

    def read(source: Path | None, max_items: int) -> list[Inputs]:
        ids = [tokenizer.encode(text).ids for text in texts(source, max_items)]
        # alike lengths side by side: little padding; then mixed, so that any first few are a sample
        rows = [np.asarray(row) for row in sorted(ids, key=len)]
        padded = [pad(batch) for batch in _batched(rows)]
        order = np.random.default_rng(0).permutation(len(padded))
        return [_tensors(input_ids=padded[i][0], mask=padded[i][1]) for i in order]

    axes = {"input_ids": (0, 1), "mask": (0, 1)}
    example = _tensors(
        input_ids=np.random.default_rng(0).integers(1000, 9000, (2, 12)),
        mask=np.ones((2, 12), np.float32),
    )
    return TowerNetwork(load_sentence_bert(folder), "cosine", axes, example, read)


def image_network(folder: Path) -> TowerNetwork:
    """EfficientNet-Lite2, from its part."""
    from encoder.graphs.efficientnet_lite import LITE2
    from encoder.media.image import load_image
    from encoder.networks.efficientnet_lite import load_efficientnet_lite
    from encoder.towers.image import to_pixels

    def read(source: Path | None, max_items: int) -> list[Inputs]:
        paths = files(source, _PICTURES, "pictures", max_items)
        pixels = (to_pixels(load_image(path)) for path in paths)
        return [_tensors(pixels=np.stack(batch)) for batch in _batched(pixels)]

    module = load_efficientnet_lite(folder / "weights.pth", LITE2)
    example = _noise("pixels", 3, LITE2.image_side, LITE2.image_side)
    return TowerNetwork(module, "kl", {"pixels": (0,)}, example, read)


def audio_network(folder: Path) -> TowerNetwork:
    """The CNN of aiSFX, from its part."""
    from encoder.media.sound import load_sound
    from encoder.networks.aisfx import load_aisfx
    from encoder.towers.audio import BLOCK_FRAMES, cut
    from encoder.towers.logmel import N_BANDS, mel_power

    def read(source: Path | None, max_items: int) -> list[Inputs]:
        paths = files(source, _SOUNDS, "sounds", max_items)
        blocks = (block for path in paths for block in cut(mel_power(load_sound(path))))
        return [_tensors(blocks=np.stack(batch)) for batch in _batched(blocks)]

    module = load_aisfx(folder / "weights.pth")
    example = _noise("blocks", BLOCK_FRAMES, N_BANDS)
    return TowerNetwork(module, "cosine", {"blocks": (0,)}, example, read)


def texts(source: Path | None, max_items: int) -> list[str]:
    """Texts to calibrate with, evenly drawn: the paragraphs of a file or of a folder's files.

    Without a source: paragraphs of Python's language reference, which every Python brings, and
    the names of the image labels.
    """
    if source is None:
        return _texts_that_come_along(max_items)
    paths = [source] if source.is_file() else files(source, _TEXTS, "texts", max_items)
    found = [
        paragraph
        for path in paths
        for paragraph in paragraphs(path.read_text("utf-8", errors="replace"))
    ]
    if not found:
        raise InputError("calibration", got=f"no text in {source}", wanted="files with text")
    return evenly(found, max_items)


def paragraphs(text: str) -> Iterator[str]:
    """Pieces between blank lines, on one line each; what is too short to say anything is left out.

    >>> list(paragraphs("Title\\n\\nA sentence that goes\\non, and on."))
    ['A sentence that goes on, and on.']
    """
    for piece in text.split("\n\n"):
        if len(line := " ".join(piece.split())) >= _MIN_CHARACTERS:
            yield line


def _texts_that_come_along(max_items: int) -> list[str]:
    from pydoc_data.topics import topics

    reference = [line for name in sorted(topics) for line in paragraphs(topics[name])]
    names: list[str] = np.load(IMAGE_LABELS)["names"].tolist()
    half = max_items // 2
    return evenly(reference, half) + evenly(names, half)


def files(source: Path | None, suffixes: set[str], what: str, max_items: int) -> list[Path]:
    """Files of a kind below ``source``, evenly drawn.

    Raises:
        InputError: no folder was given, or it holds none.
    """
    wanted = f"a folder with {what} ({', '.join(sorted(suffixes))})"
    if source is None:
        raise InputError("calibration", got="nothing", wanted=wanted)
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in suffixes)
    if not found:
        raise InputError("calibration", got=f"{source}, which holds none", wanted=wanted)
    return evenly(found, max_items)


def evenly(items: Sequence[T], n: int) -> list[T]:
    """At most ``n`` items, spread over all of them.

    >>> evenly("abcdef", 3)
    ['a', 'c', 'e']
    """
    step = max(1.0, len(items) / n)
    return [items[int(i * step)] for i in range(min(n, len(items)))]


def _tensors(**arrays: Any) -> Inputs:
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _noise(name: str, *shape: int) -> Inputs:
    return _tensors(**{name: np.random.default_rng(0).random((2, *shape), np.float32)})


def _batched(items: Iterable[T], n: int = _BATCH) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, n)):
        yield batch
