"""The bundle's convolutional networks as graphs: EfficientNet-Lite for pictures, aiSFX for sounds.

`encoder.networks` has them as torch modules.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoder.errors import ModelError
from encoder.onnx.graph import Graph
from encoder.onnx.pth import Tensors, read_tensors


def normalized_conv(
    graph: Graph,
    states: str,
    weights: Tensors,
    *,
    conv: str,
    norm: str,
    eps: float,
    pads: Sequence[int],
    stride: int = 1,
    groups: int = 1,
) -> str:
    """A convolution without bias and the batch norm after it, folded into one `Conv`.

    Args:
        graph: the graph to add it to.
        states: [n, n_in, height, width].
        weights: of the network.
        conv: the convolution's name in ``weights``.
        norm: the batch norm's name.
        eps: of the batch norm.
        pads: zeros above, left, below and right.
        stride: of the convolution.
        groups: groups of channels; as many as channels if each has its own kernel.

    Returns:
        [n, n_out, new height, new width].
    """
    kernel = weights[f"{conv}.weight"]
    gain = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + np.float32(eps))
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain
    return graph.add(
        "Conv",
        states,
        graph.constant(kernel * gain[:, None, None, None], f"{conv}.weight"),
        graph.constant(bias, f"{conv}.bias"),
        group=groups,
        kernel_shape=kernel.shape[2:],
        pads=pads,
        strides=(stride, stride),
    )


def linear(graph: Graph, rows: str, weights: Tensors, layer: str) -> str:
    """A fully connected layer, [n, n_in] to [n, n_out]."""
    weight, bias = (
        graph.constant(weights[name], name) for name in (f"{layer}.weight", f"{layer}.bias")
    )
    return graph.add("Gemm", rows, weight, bias, transB=1)


NORM_EPS = 1e-3
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
_CHANNEL_MULTIPLE = 8
_N_POOLED_STAGES = 3
_STEM_KERNEL = 3


@dataclass(frozen=True)
class LiteSize:
    """Width and depth factors, and the side in pixels of the square input."""

    width: float
    depth: float
    image_side: int
    n_classes: int = 1000


LITE2 = LiteSize(width=1.1, depth=1.2, image_side=260)


@dataclass(frozen=True)
class BlockSize:
    """One block. ``expand`` is the factor of the inner width."""

    kernel: int
    stride: int
    expand: int
    n_in: int
    n_out: int

    @property
    def inner(self) -> int:
        """Channels between the expansion and the projection."""
        return self.n_in * self.expand

    @property
    def has_skip(self) -> bool:
        """Whether the block's input is added to what it gives."""
        return self.stride == 1 and self.n_in == self.n_out


# repeats, kernel, stride, expand, channels out: the stages of EfficientNet-B0
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def pooled_blocks(size: LiteSize) -> dict[int, int]:
    """The last block of each of the last stages, and its channels; no two stages have the same."""
    last = {block.n_out: index for index, block in enumerate(block_sizes(size))}
    return {last[n_channels]: n_channels for n_channels in [*last][-_N_POOLED_STAGES:]}


def scale_channels(channels: int, width: float) -> int:
    """Scale to the nearest multiple of 8 that is not more than 10 % below the exact value.

    >>> scale_channels(24, 1.1), scale_channels(16, 1.1)
    (24, 16)
    """
    wish = channels * width
    rounded = max(_CHANNEL_MULTIPLE, int(wish / _CHANNEL_MULTIPLE + 0.5) * _CHANNEL_MULTIPLE)
    return rounded + _CHANNEL_MULTIPLE if rounded < 0.9 * wish else rounded


def block_sizes(size: LiteSize) -> Iterator[BlockSize]:
    """The blocks from stem to head; the Lite variants scale neither end's depth."""
    n_in = STEM_CHANNELS
    for index, (repeats, kernel, stride, expand, channels) in enumerate(_STAGES):
        n_out = scale_channels(channels, size.width)
        is_end = index in (0, len(_STAGES) - 1)
        for repeat in range(repeats if is_end else math.ceil(repeats * size.depth)):
            yield BlockSize(kernel, stride if repeat == 0 else 1, expand, n_in, n_out)
            n_in = n_out


def same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's ``SAME``: zeros before and after, an odd one after.

    >>> same_padding(260, 3, 2)
    (0, 1)
    """
    total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def lay_efficientnet_lite(
    weights: Tensors, size: LiteSize, target: Path, *, with_features: bool = False
) -> None:
    """Write the classifier.

    Input: ``pixels``, normalised, float32 [n, 3, side, side]. Output: ``logits`` [n, n_classes].
    With features, also the mean of each channel at the ends of the last three stages and of the
    last layer: in Lite2 ``mean_120`` [n, 120], ``mean_208``, ``mean_352`` and ``mean_1280``.

    Raises:
        ModelError: the weights belong to a different network.
    """
    try:
        _Lite(weights, size).save(target, with_features=with_features)
    except KeyError as error:
        raise ModelError(
            f"The weights lack {error}: they do not belong to an EfficientNet-Lite of width "
            f"{size.width}.",
            remedy="Run `anymodal bundle fetch`.",
        ) from error


class _Lite:
    """Builds the graph, and keeps track of the side of the next layer's input."""

    def __init__(self, weights: Tensors, size: LiteSize) -> None:
        self._weights, self._size = weights, size
        self._graph, self._side = Graph(), size.image_side
        self._low = self._graph.constant(np.float32(0))
        self._high = self._graph.constant(np.float32(6))

    def save(self, target: Path, *, with_features: bool) -> None:
        graph, side = self._graph, self._size.image_side
        states = self._relu6(self._conv("pixels", "_conv_stem", "_bn0", _STEM_KERNEL, 2))
        pooled: dict[str, tuple[str, tuple[str, int]]] = {}
        to_pool = pooled_blocks(self._size) if with_features else {}
        for index, block in enumerate(block_sizes(self._size)):
            states = self._block(states, f"_blocks.{index}.", block)
            if index in to_pool:
                pooled |= self._mean(states, block.n_out)
        states = self._relu6(self._conv(states, "_conv_head", "_bn1"))
        means = self._mean(states, HEAD_CHANNELS)
        ((mean, _),) = means.values()
        logits = linear(graph, mean, self._weights, "_fc")
        inputs = {"pixels": (np.float32, ("n", 3, side, side))}
        outputs = {"logits": (logits, ("n", self._size.n_classes))}
        graph.save(target, inputs, outputs | (pooled | means if with_features else {}))

    def _mean(self, states: str, n_channels: int) -> dict[str, tuple[str, tuple[str, int]]]:
        """The mean of each channel, as an output."""
        mean = self._graph.add("ReduceMean", states, self._graph.ints(2, 3), keepdims=0)
        return {f"mean_{n_channels}": (mean, ("n", n_channels))}

    def _block(self, inputs: str, at: str, block: BlockSize) -> str:
        states = inputs
        if block.expand != 1:
            states = self._relu6(self._conv(states, at + "_expand_conv", at + "_bn0"))
        states = self._conv(
            states, at + "_depthwise_conv", at + "_bn1", block.kernel, block.stride, block.inner
        )
        states = self._conv(self._relu6(states), at + "_project_conv", at + "_bn2")
        return self._graph.add("Add", states, inputs) if block.has_skip else states

    def _conv(
        self, states: str, conv: str, norm: str, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> str:
        leading, trailing = same_padding(self._side, kernel, stride)
        self._side = math.ceil(self._side / stride)
        return normalized_conv(
            self._graph, states, self._weights, conv=conv, norm=norm, eps=NORM_EPS,
            pads=(leading, leading, trailing, trailing), stride=stride, groups=groups,
        )  # fmt: skip

    def _relu6(self, states: str) -> str:
        return self._graph.add("Clip", states, self._low, self._high)


CHANNELS = (64, 128, 256, 512)
POOLS = (2, 2, 2, 1)
"""The side of the max pooling after each block; 1 for none."""

HEADS = {0: 78, 1: 79}
"""Classifiers that are kept: their index in the checkpoint, and their number of classes."""

_HEAD_LAYERS = (0, 2, 4)
_NORM_EPS = 1e-5


def read_aisfx(path: Path) -> Tensors:
    """The aisfx package's checkpoint, under the names of `encoder.networks.convolutions.Aisfx`.

    Raises:
        ModelError: the file is not that checkpoint.
    """
    checkpoint = read_tensors(path)
    renamed = {f"embedding_net.conv_block{i + 1}.": f"blocks.{i}." for i in range(len(CHANNELS))}
    renamed |= {f"fc.{old}.": f"heads.{new}." for new, old in enumerate(HEADS)}
    weights = {
        ours + name.removeprefix(theirs): values
        for theirs, ours in renamed.items()
        for name, values in checkpoint.items()
        if name.startswith(theirs)
    }
    _check(path, weights)
    return weights


def _check(path: Path, weights: Tensors) -> None:
    n_rows = {f"blocks.{i}.conv1.weight": (n,) for i, n in enumerate(CHANNELS)}
    n_rows |= {f"heads.{i}.{_HEAD_LAYERS[-1]}.bias": (n,) for i, n in enumerate(HEADS.values())}
    for name, (n_out,) in n_rows.items():
        if name not in weights or len(weights[name]) != n_out:
            raise ModelError(
                f"{path} is not the aiSFX checkpoint: it has no {name} of {n_out} rows.",
                remedy="Run `anymodal bundle fetch`.",
            )


def lay_aisfx(weights: Tensors, target: Path) -> None:
    """Write the network.

    Input: ``blocks`` float32 [n, frames, bands], scaled as `logmel.scale` does.
    Outputs: ``features`` [n, 512], and the logits of each head of `HEADS`.
    """
    graph = Graph()
    states = graph.add("Unsqueeze", "blocks", graph.ints(1))
    for i, pool in enumerate(POOLS):
        states = _block(graph, states, weights, f"blocks.{i}", pool)
    heard = graph.add("ReduceMean", states, graph.ints(3), keepdims=0)
    features = graph.add("ReduceMax", heard, graph.ints(2), keepdims=0)
    outputs = {"features": (features, ("n", CHANNELS[-1]))}
    for i, n_classes in enumerate(HEADS.values()):
        logits = _head(graph, features, weights, f"heads.{i}")
        outputs[f"logits_{i}"] = (logits, ("n", n_classes))
    graph.save(target, {"blocks": (np.float32, ("n", 100, 96))}, outputs)


def _block(graph: Graph, states: str, weights: Tensors, at: str, pool: int) -> str:
    for i in (1, 2):
        states = normalized_conv(
            graph, states, weights, conv=f"{at}.conv{i}", norm=f"{at}.bn{i}", eps=_NORM_EPS,
            pads=(1, 1, 1, 1),
        )  # fmt: skip
        states = graph.add("Relu", states)
    if pool == 1:
        return states
    return graph.add("MaxPool", states, kernel_shape=(pool, pool), strides=(pool, pool))


def _head(graph: Graph, features: str, weights: Tensors, at: str) -> str:
    rows = features
    for layer in _HEAD_LAYERS:
        rows = graph.add("Relu", rows) if layer else rows
        rows = linear(graph, rows, weights, f"{at}.{layer}")
    return rows
