"""The CNN of aiSFX as a graph, see `encoder.networks.aisfx`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from encoder.errors import ModelError
from encoder.onnx.convolutions import linear, normalized_conv
from encoder.onnx.graph import Graph
from encoder.onnx.pth import Tensors, read_tensors

CHANNELS = (64, 128, 256, 512)
POOLS = (2, 2, 2, 1)
"""The side of the max pooling after each block; 1 for none."""

HEADS = {0: 78, 1: 79}
"""Classifiers that are kept: their index in the checkpoint, and their number of classes."""

_HEAD_LAYERS = (0, 2, 4)
_NORM_EPS = 1e-5


def read_aisfx(path: Path) -> Tensors:
    """The checkpoint of the aisfx package, under the names of `encoder.networks.aisfx.Aisfx`.

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
    wanted = {f"blocks.{i}.conv1.weight": (n,) for i, n in enumerate(CHANNELS)}
    wanted |= {f"heads.{i}.{_HEAD_LAYERS[-1]}.bias": (n,) for i, n in enumerate(HEADS.values())}
    for name, (n_out,) in wanted.items():
        if name not in weights or len(weights[name]) != n_out:
            raise ModelError(
                f"{path} is not the aiSFX checkpoint: it has no {name} of {n_out} rows.",
                remedy="Run `anymodal bundle fetch`.",
            )


def lay_aisfx(weights: Tensors, target: Path) -> None:
    """Write the network.

    Input: ``blocks`` float32 [n, frames, bands], scaled as `logmel.scale` does.
    Outputs: ``features`` [n, 512], and the logits of each head of `HEADS`.

    Args:
        weights: of `read_aisfx`.
        target: the ``.onnx`` file to write.
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
