"""EfficientNet-Lite as a graph, see `encoder.networks.efficientnet_lite`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoder.errors import ModelError
from encoder.onnx.convolutions import linear, normalized_conv
from encoder.onnx.graph import Graph
from encoder.onnx.pth import Tensors

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

    Args:
        weights: of `encoder.onnx.pth.read_tensors`.
        size: which variant.
        target: the ``.onnx`` file to write.
        with_features: whether pooled features are outputs too.

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
        before, after = same_padding(self._side, kernel, stride)
        self._side = math.ceil(self._side / stride)
        return normalized_conv(
            self._graph, states, self._weights, conv=conv, norm=norm, eps=NORM_EPS,
            pads=(before, before, after, after), stride=stride, groups=groups,
        )  # fmt: skip

    def _relu6(self, states: str) -> str:
        return self._graph.add("Clip", states, self._low, self._high)
