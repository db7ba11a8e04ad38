"""The parts that both convolutional networks are built from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encoder.onnx.graph import Graph
from encoder.onnx.pth import Tensors


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
