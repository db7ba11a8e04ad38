"""Networks that take what an application has and give unit rows: pictures in, vectors out.

What the server does in numpy before and after a network becomes part of the network here, so that
each platform gets it from the same file. Only standard operators are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.network import OnnxNetwork
from encoder.towers.image import (
    CROP_PADDING,
    MEAN,
    NAMED_SHARE,
    SCALE,
    SETTINGS,
    SIDE,
    ConseSettings,
    ImageHead,
)

OUTPUT = "vectors"
PICTURE = "rgb"
"""uint8 [height, width, 3]."""

_FLOAT32, _UINT8, _FLOAT64 = 1, 2, 11
_WEIGHT_STEPS = 2**22


class MobileGraph(OnnxNetwork):
    """An ONNX file that takes and gives more than its own network does."""

    def floats(self, array: NDArray[Any]) -> str:
        """Add a table; a float16 table stays float16 in the file."""
        name = self.constant(array)
        return self.add("Cast", name, to=_FLOAT32) if array.dtype == np.float16 else name

    def normalized(self, rows: str, name: str) -> str:
        """Unit rows along the last axis."""
        return self.add("LpNormalization", rows, output=name, axis=-1, p=2)

    def write(self, shape: Sequence[str | int], picture: bool = False) -> None:
        """Write the file, which gives `OUTPUT` of this shape and nothing else.

        Args:
            shape: of the vectors.
            picture: whether `PICTURE` is the input instead of the network's own.
        """
        import onnx
        from onnx import helper

        self.set_outputs({OUTPUT: (_FLOAT32, shape)})
        if picture:
            sides = ["height", "width", 3]
            self.proto.graph.ClearField("input")
            self.proto.graph.input.append(helper.make_tensor_value_info(PICTURE, _UINT8, sides))
        self.save()
        onnx.checker.check_model(self.proto)


def write_text(source: Path, path: Path, embed_dim: int) -> None:
    """Write a text network whose rows have length 1."""
    network = MobileGraph(source, path)
    network.normalized(next(iter(network.outputs)), OUTPUT)
    network.write(["n", embed_dim])


def write_picture(
    source: Path, path: Path, head: NDArray[Any] | ImageHead, settings: ConseSettings
) -> None:
    """Write a picture network that takes `PICTURE` and gives rows [n_rows, embed_dim].

    Args:
        source: takes ``pixels``; gives logits, and features if ``head`` wants them.
        path: the file.
        head: a label table [n_labels, embed_dim] (one row), or a head (two rows).
        settings: for a label table.
    """
    network = MobileGraph(source, path)
    _add_pixels(network)
    if isinstance(head, ImageHead):
        _add_head(network, head)
        network.write([2, head.weight.shape[1]], picture=True)
        return
    _add_conse(network, next(iter(network.outputs)), head, settings, OUTPUT)
    network.write([1, head.shape[1]], picture=True)


def _add_pixels(network: MobileGraph) -> None:
    """See `encoder.towers.image.to_pixels`: Pillow's bicubic filter as two products.

    ONNX's Resize cannot cut out a box that ends between pixels, and a shift by half a pixel costs
    up to .03 of cosine. Everything rounds as in Pillow (a box in float32, weights in 22 bits,
    whole numbers after each product), so the pixels are Pillow's. In tall pictures Pillow 13 scales
    columns first: then about one pixel in a hundred differs, by a grey level or two.
    """
    add = network.add
    sides = add("Cast", add("Shape", PICTURE), to=_FLOAT64)
    height, width = (add("Gather", sides, network.constant(np.int64(i))) for i in (0, 1))
    tested = add("Mul", add("Min", height, width), _scalar(network, SIDE))
    square = add("Div", tested, _scalar(network, SIDE + CROP_PADDING))
    planes = add("Transpose", add("Cast", PICTURE, to=_FLOAT64), perm=[2, 0, 1])
    across = add("Transpose", _add_filter(network, width, square), perm=[1, 0])
    narrow = _add_rounded(network, add("MatMul", planes, across))
    small = _add_rounded(network, add("MatMul", _add_filter(network, height, square), narrow))
    centred = add("Sub", add("Cast", small, to=_FLOAT32), network.constant(np.float32(MEAN)))
    pixels = add("Div", centred, network.constant(np.float32(SCALE)))
    first = network.constant(np.array([0], np.int64))
    add("Unsqueeze", pixels, first, output=network.proto.graph.input[0].name)


def _add_filter(network: MobileGraph, length: str, square: str) -> str:
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


def _add_bicubic(network: MobileGraph, x: str) -> str:
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


def _add_rounded(network: MobileGraph, values: str) -> str:
    """Round to whole numbers from 0 to 255; halves go up, as in Pillow."""
    add = network.add
    whole = add("Floor", add("Add", values, _scalar(network, 0.5)))
    return add("Clip", whole, _scalar(network, 0), _scalar(network, 255))


def _scalar(network: MobileGraph, value: float) -> str:
    return network.constant(np.float64(value))


def _add_conse(
    network: MobileGraph, logits: str, labels: NDArray[Any], settings: ConseSettings, name: str
) -> str:
    """See `encoder.towers.image.conse`."""
    count = network.constant(np.array([settings.n_classes], np.int64))
    best, which = f"{name}_best", f"{name}_which"
    network.add_many("TopK", (best, which), logits, count, axis=1)
    heat = network.constant(np.float32(settings.temperature))
    weights = network.add("Softmax", network.add("Div", best, heat), axis=1)
    places = network.add("Gather", network.floats(labels), which, axis=0)
    rows = network.add("Unsqueeze", weights, network.constant(np.array([1], np.int64)))
    mean = network.add("MatMul", rows, places)
    flat = network.add("Squeeze", mean, network.constant(np.array([1], np.int64)))
    return network.normalized(flat, name)


def _add_head(network: MobileGraph, head: ImageHead) -> None:
    """See `encoder.towers.image.ImageHeadTower.forward`."""
    logits = next(iter(network.outputs))
    features = network.add("Concat", *network.outputs, axis=1)
    by_name = _add_conse(network, logits, _small(head.labels), SETTINGS, "named")
    centred = network.add("Sub", features, network.floats(_small(head.mean)))
    scaled = network.add("Mul", centred, network.floats(_small(head.scale)))
    rows = network.add("MatMul", scaled, network.floats(_small(head.weight)))
    named_share = network.add("Mul", by_name, network.constant(np.float32(NAMED_SHARE)))
    mixed = network.add("Add", network.normalized(rows, "described"), named_share)
    first = network.normalized(mixed, "mixed")
    network.add("Concat", first, by_name, output=OUTPUT, axis=0)


def _small(table: NDArray[np.float32]) -> NDArray[Any]:
    """As float16 where nothing is lost, as the tables of bundles are stored."""
    half = table.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), table) else table
