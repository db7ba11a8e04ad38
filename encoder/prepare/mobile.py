"""A folder of towers for phones: networks, tokenizer, and a manifest, checked as they are written.

manifest.json     what each network takes and gives, its preprocessing, each file's sha256
text.onnx         token ids and a mask to unit rows, with tokenizer.json next to it
image.onnx        the bytes of a picture to unit rows

What the server does in numpy before and after a network becomes part of the network here, so that
each platform gets it from the same file. Only standard operators are added.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.models.artifacts import FLOAT32, MANIFEST, describe_files
from encoder.models.bundle.declaration import Bundle, location, read_bundle
from encoder.models.bundle.kinds import e5_prompt, image_labels
from encoder.models.bundle.model import load, network
from encoder.models.spec import ModelSpec
from encoder.onnx.network import OnnxNetwork
from encoder.runtime.onnx import OnnxSession
from encoder.system.disk import writing
from encoder.towers.image import (
    CROP_PADDING,
    MEAN,
    NAMED_SHARE,
    SCALE,
    SETTINGS,
    SIDE,
    ConseSettings,
    ImageHead,
    load_image_head,
)
from encoder.towers.model import Model
from encoder.towers.text import MAX_TOKENS, inputs_of
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, TEXT

LEAST_COSINE = 0.999
"""Between the outputs of a written network and those of the server."""

_FORMAT = 1
_TOKENIZER = "tokenizer.json"
_NETWORKS = {TEXT: "text.onnx", IMAGE: "image.onnx"}
_OUTPUT, _PICTURE = "vectors", "rgb"
_FLOAT32, _UINT8, _FLOAT64 = 1, 2, 11
_WEIGHT_STEPS = 2**22


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        folder: holds it.
        cosines: the least cosine with the server, by file.
        size_bytes: of all files.
    """

    folder: Path
    cosines: Mapping[str, float]
    size_bytes: int


def export_mobile(model: str, folder: Path, *, quantization: str | None = "int8") -> Exported:
    """Write the towers of texts and pictures of a bundle; the folder appears whole or not at all.

    Args:
        model: ``bundle:english`` or ``bundle:multilingual``.
        folder: must not exist.
        quantization: ``int8``, or None for float32.

    Raises:
        ModelError: the model is no bundle, the folder exists, or a network's rows differ from the
            server's: a cosine below `LEAST_COSINE`.
        BundleError: the bundle is not there.
        DiskError: the disk is full or may not be written to.
    """
    spec = ModelSpec.parse(model)
    if spec.kind != "bundle":
        raise ModelError(
            f"{spec} is not a bundle; only bundles can be exported for phones.",
            remedy="Use a bundle; the networks of a prepared model are ONNX files already.",
        )
    if folder.exists():
        raise ModelError(f"{folder} exists.", remedy="Choose a folder that does not exist yet.")
    bundle = read_bundle(spec.name)
    with writing(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            new = Path(scratch, "new")
            new.mkdir()
            cosines = _write(bundle, new, quantization)
            size_bytes = sum(path.stat().st_size for path in new.iterdir())
            new.rename(folder)
    return Exported(folder, cosines, size_bytes)


def _write(bundle: Bundle, folder: Path, quantization: str | None) -> dict[str, float]:
    home, tables = location(bundle), bundle.parts[IMAGE].tables
    files = {modality: network(bundle, home, modality) for modality in _NETWORKS}
    text, image = ((quantization and each.int8) or each.float32 for each in files.values())
    head = load_image_head(tables["head"]) if "head" in tables else image_labels(tables["labels"])
    _write_text(text, folder / _NETWORKS[TEXT], bundle.embed_dim)
    _write_picture(image, folder / _NETWORKS[IMAGE], head, ConseSettings())
    shutil.copyfile(home / TEXT / _TOKENIZER, folder / _TOKENIZER)
    model = load(bundle, quantization=quantization, n_threads=1)
    cosines = _cosines(model, folder)
    if wrong := [f"{name} {cos:.5f}" for name, cos in cosines.items() if not cos >= LEAST_COSINE]:
        raise ModelError(
            f"The networks differ from the server's: cosine of {', '.join(wrong)}.",
            remedy="Check the bundle with `anymodal bundle verify`.",
        )
    facts = _manifest(bundle, quantization or FLOAT32, model.space.fingerprint, cosines)
    text_of_facts = json.dumps(
        {**facts, "files": describe_files(folder)}, indent=1, ensure_ascii=False
    )
    (folder / MANIFEST).write_text(text_of_facts, "utf-8")
    return cosines


def _manifest(
    bundle: Bundle, precision: str, space: str, cosines: Mapping[str, float]
) -> dict[str, Any]:
    """Everything in the manifest except the files' hashes."""
    is_e5 = bundle.parts[TEXT].kind == "e5"
    n_rows = 2 if "head" in bundle.parts[IMAGE].tables else 1
    output: dict[str, Any] = {"name": _OUTPUT, "dtype": "float32", "unit": "length 1"}
    text: dict[str, Any] = {
        "network": _NETWORKS[TEXT],
        "inputs": {
            "input_ids": {"dtype": "int64", "shape": ["n", "length"]},
            "mask": {"dtype": "float32", "shape": ["n", "length"], "values": "1 for tokens"},
        },
        "output": {**output, "shape": ["n", bundle.embed_dim]},
        "tokenizer": _TOKENIZER,
        "max_tokens": bundle.window_tokens,
        "prompts": {role: e5_prompt(role) if is_e5 else "" for role in (DOCUMENT, QUERY)},
    }
    image: dict[str, Any] = {
        "network": _NETWORKS[IMAGE],
        "inputs": {
            _PICTURE: {"dtype": "uint8", "shape": ["height", "width", 3], "values": "RGB, upright"}
        },
        "output": {**output, "shape": [n_rows, bundle.embed_dim]},
        "preprocessing": "in the network: the middle square, scaled to 260 pixels",
        "rows": f"{n_rows}; of several, the best score counts",
    }
    towers = {
        name: {**tower, "least_cosine": round(cosines[_NETWORKS[name]], 6)}
        for name, tower in {TEXT: text, IMAGE: image}.items()
    }
    return {
        "format": _FORMAT,
        "model": bundle.spec,
        "precision": precision,
        "space": space,
        "embed_dim": bundle.embed_dim,
        "towers": towers,
        "left_out": {AUDIO: "A sound's row needs recognized speech too, which is no ONNX file."},
    }


_TEXTS = (
    "a dog",
    "A red bicycle leans against the wall of an old mill.",
    "Rain fell on the harbour all night, and the boats stayed in. " * 6,
)
_SIZES = ((240, 320), (260, 200), (260, 260))
"""Pillow scales rows before columns in all of them; see `_add_pixels`."""


def _cosines(model: Model, folder: Path) -> dict[str, float]:
    """The least cosine of each ONNX file's rows with those of the server, in the same precision."""
    text, image = (OnnxSession(folder / name, n_threads=1) for name in _NETWORKS.values())
    text_tower, image_tower = model.towers[TEXT], model.towers[IMAGE]
    tokens = [np.asarray(text_tower.prepare(words), np.int64)[:MAX_TOKENS] for words in _TEXTS]
    pictures = [_waves(*sides) for sides in _SIZES]
    pairs = {
        TEXT: [(text_tower.forward([ids]).rows, text.run(inputs_of([ids]))[0]) for ids in tokens],
        IMAGE: [
            (image_tower.forward([image_tower.prepare(rgb)]).rows, image.run({_PICTURE: rgb})[0])
            for rgb in pictures
        ],
    }
    return {
        _NETWORKS[modality]: min(float((a * b).sum(axis=1).min()) for a, b in rows)
        for modality, rows in pairs.items()
    }


def _waves(height: int, width: int) -> NDArray[np.uint8]:
    """A smooth picture, uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(x / 37 + y / 51), np.cos(y / 43), np.sin(x / 29) * np.cos(y / 61)]
    return np.asarray(127 + 100 * np.stack(planes, axis=2), np.uint8)


def _write_text(source: Path, path: Path, embed_dim: int) -> None:
    """Write a text network whose rows have length 1."""
    network = OnnxNetwork(source, path)
    _normalized(network, next(iter(network.outputs)), _OUTPUT)
    _save(network, ["n", embed_dim])


def _write_picture(
    source: Path, path: Path, head: NDArray[Any] | ImageHead, settings: ConseSettings
) -> None:
    """Write a picture network that takes `_PICTURE` and gives rows [n_rows, embed_dim]."""
    from onnx import helper

    network = OnnxNetwork(source, path)
    _add_pixels(network)
    if isinstance(head, ImageHead):
        _add_head(network, head)
        shape = [2, head.weight.shape[1]]
    else:
        _add_conse(network, next(iter(network.outputs)), head, settings, _OUTPUT)
        shape = [1, head.shape[1]]
    network.proto.graph.ClearField("input")
    rgb = helper.make_tensor_value_info(_PICTURE, _UINT8, ["height", "width", 3])
    network.proto.graph.input.append(rgb)
    _save(network, shape)


def _save(network: OnnxNetwork, shape: Sequence[str | int]) -> None:
    """Write the file, which gives `_OUTPUT` of this shape and nothing else."""
    import onnx

    network.set_outputs({_OUTPUT: (_FLOAT32, shape)})
    network.save()
    onnx.checker.check_model(network.proto)


def _normalized(network: OnnxNetwork, rows: str, name: str) -> str:
    """Unit rows along the last axis."""
    return network.add("LpNormalization", rows, output=name, axis=-1, p=2)


def _table(network: OnnxNetwork, array: NDArray[Any]) -> str:
    """Add a table; as float16 where nothing is lost, as the tables of bundles are stored."""
    half = array.astype(np.float16)
    is_half = np.array_equal(half.astype(np.float32), array)
    return (
        network.add("Cast", network.constant(half), to=_FLOAT32)
        if is_half
        else (network.constant(array))
    )


def _add_pixels(network: OnnxNetwork) -> None:
    """See `encoder.towers.image.to_pixels`: Pillow's bicubic filter as two products.

    ONNX's Resize cannot cut out a box that ends between pixels, and a shift by half a pixel costs
    up to .03 of cosine. Everything rounds as in Pillow (a box in float32, weights in 22 bits,
    whole numbers after each product), so the pixels are Pillow's. In tall pictures Pillow 13 scales
    columns first: then about one pixel in a hundred differs, by a grey level or two.
    """
    add = network.add
    sides = add("Cast", add("Shape", _PICTURE), to=_FLOAT64)
    height, width = (add("Gather", sides, network.constant(np.int64(i))) for i in (0, 1))
    tested = add("Mul", add("Min", height, width), _scalar(network, SIDE))
    square = add("Div", tested, _scalar(network, SIDE + CROP_PADDING))
    planes = add("Transpose", add("Cast", _PICTURE, to=_FLOAT64), perm=[2, 0, 1])
    across = add("Transpose", _add_filter(network, width, square), perm=[1, 0])
    narrow = _add_rounded(network, add("MatMul", planes, across))
    small = _add_rounded(network, add("MatMul", _add_filter(network, height, square), narrow))
    centred = add("Sub", add("Cast", small, to=_FLOAT32), network.constant(np.float32(MEAN)))
    pixels = add("Div", centred, network.constant(np.float32(SCALE)))
    first = network.constant(np.array([0], np.int64))
    add("Unsqueeze", pixels, first, output=network.proto.graph.input[0].name)


def _add_filter(network: OnnxNetwork, length: str, square: str) -> str:
    """Weights of each pixel of a side in each of the scaled pixels, [SIDE, length]."""
    add = network.add
    number = partial(_scalar, network)

    start = add("Div", add("Sub", length, square), number(2))
    start_pixel = add("Cast", start, to=_FLOAT32)
    right = add("Cast", add("Add", start, square), to=_FLOAT32)
    side = add("Cast", add("Sub", right, start_pixel), to=_FLOAT64)
    step = add("Div", side, number(SIDE))
    pixel_middles = network.constant(np.arange(SIDE)[:, None] + 0.5)
    start_pixel = add("Cast", start_pixel, to=_FLOAT64)
    centres = add("Add", start_pixel, add("Mul", pixel_middles, step))
    places = add("Add", add("Range", number(0), length, number(1)), number(0.5))
    away = add("Div", add("Sub", places, centres), add("Max", step, number(1)))
    weights = _add_bicubic(network, add("Abs", away))
    whole = add("ReduceSum", weights, network.constant(np.array([1], np.int64)), keepdims=1)
    fine = add("Mul", add("Div", weights, whole), number(_WEIGHT_STEPS))
    # Pillow rounds halves away from zero, which no weight comes near; Round takes even ones
    return add("Div", add("Round", fine), number(_WEIGHT_STEPS))


def _add_bicubic(network: OnnxNetwork, x: str) -> str:
    """Keys' kernel with a = -.5 (Keys 1981) at distances x >= 0."""
    add, number = network.add, partial(_scalar, network)

    def polynomial(*factors: float) -> str:
        value = number(factors[0])
        for factor in factors[1:]:
            value = add("Add", add("Mul", value, x), number(factor))
        return value

    near, far = polynomial(1.5, -2.5, 0, 1), polynomial(-0.5, 2.5, -4, 2)
    outer = add("Where", add("Less", x, number(2)), far, number(0))
    return add("Where", add("Less", x, number(1)), near, outer)


def _add_rounded(network: OnnxNetwork, values: str) -> str:
    """Round to whole numbers from 0 to 255; halves go up, as in Pillow."""
    add = network.add
    whole = add("Floor", add("Add", values, _scalar(network, 0.5)))
    return add("Clip", whole, _scalar(network, 0), _scalar(network, 255))


def _scalar(network: OnnxNetwork, value: float) -> str:
    return network.constant(np.float64(value))


def _add_conse(
    network: OnnxNetwork, logits: str, labels: NDArray[Any], settings: ConseSettings, name: str
) -> str:
    """See `encoder.towers.image.conse`."""
    count = network.constant(np.array([settings.n_classes], np.int64))
    best, which = f"{name}_best", f"{name}_which"
    network.add_many("TopK", (best, which), logits, count, axis=1)
    heat = network.constant(np.float32(settings.temperature))
    weights = network.add("Softmax", network.add("Div", best, heat), axis=1)
    places = network.add("Gather", _table(network, labels), which, axis=0)
    rows = network.add("Unsqueeze", weights, network.constant(np.array([1], np.int64)))
    mean = network.add("MatMul", rows, places)
    flat = network.add("Squeeze", mean, network.constant(np.array([1], np.int64)))
    return _normalized(network, flat, name)


def _add_head(network: OnnxNetwork, head: ImageHead) -> None:
    """See `encoder.towers.image.ImageHeadTower.forward`."""
    logits = next(iter(network.outputs))
    features = network.add("Concat", *network.outputs, axis=1)
    by_name = _add_conse(network, logits, head.labels, SETTINGS, "named")
    centred = network.add("Sub", features, _table(network, head.mean))
    scaled = network.add("Mul", centred, _table(network, head.scale))
    rows = network.add("MatMul", scaled, _table(network, head.weight))
    named_share = network.add("Mul", by_name, network.constant(np.float32(NAMED_SHARE)))
    mixed = network.add("Add", _normalized(network, rows, "described"), named_share)
    first = _normalized(network, mixed, "mixed")
    network.add("Concat", first, by_name, output=_OUTPUT, axis=0)
