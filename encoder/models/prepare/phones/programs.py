"""The towers as programs of ExecuTorch: one text's token ids, or one picture's bytes, to unit rows.

XNNPACK rounds the inputs of an int8 layer to 255 steps per token, and so does the server in int8.
Two such networks therefore differ as much as each does from float32: one value rounded differently
by one step changes all that follow. So inputs keep their full precision here, and rows are close to
those of float32. Pictures are float32 throughout.

Importing this imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from encoder.graphs.packed import PackedTable
from encoder.graphs.text import read_text_network
from encoder.models.mobile.described import LEAST_TOKENS, SIDES
from encoder.models.mobile.graphs import PICTURE
from encoder.models.prepare.phones.picture import PictureRows
from encoder.networks.bert import SentenceBert, load_sentence_bert
from encoder.quant.export.executorch import Lookup, linear_weight, lowered, open_method
from encoder.towers.picture.head import ImageHead

_EXAMPLE_TOKENS = 12
_MAX_CODE = 127
_N_MORE = 8
"""How many columns are added; XNNPACK's kernels go in steps of eight."""
_HALF_STEP = 0.5 / _MAX_CODE
_TINY = 1e-20


def write_text(folder: Path, path: Path, *, int8: bool, max_tokens: int) -> None:
    """Write a text network for XNNPACK.

    Args:
        folder: the text part of a bundle.
        path: the ``.pte`` file.
        int8: whether weights are stored in 8 bits; else in float32. A table of tokens that comes
            packed stays packed.
        max_tokens: the most tokens of a text.
    """
    network = load_sentence_bert(folder)
    words = read_text_network(folder).words
    if words is not None:
        network.set_submodule("word", _packed(words))
    if int8:
        _store_in_8_bits(network)
    inputs = {"input_ids": torch.arange(1000, 1000 + _EXAMPLE_TOKENS)[None]}
    axes = {"input_ids": {1: ("length", LEAST_TOKENS, max_tokens)}}
    path.write_bytes(lowered(_UnitRows(network).eval(), inputs, axes))


def write_picture(weights: Path, path: Path, head: NDArray[Any] | ImageHead) -> None:
    """Write a picture tower for XNNPACK, in float32.

    Args:
        weights: of the network.
        path: the ``.pte`` file.
        head: a label table [n_labels, embed_dim] (one row), or a head (two rows).
    """
    inputs = {PICTURE: torch.full((240, 320, 3), 127, dtype=torch.uint8)}
    axes = {PICTURE: {0: ("height", *SIDES), 1: ("width", *SIDES)}}
    path.write_bytes(lowered(PictureRows(weights, head).eval(), inputs, axes))


class Program:
    """A ``.pte`` file that is run here.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._method = open_method(path)

    def rows(self, array: NDArray[np.generic]) -> NDArray[np.float32]:
        """Its output for its one input."""
        (found,) = self._method.execute([torch.tensor(array)])
        rows: NDArray[np.float32] = found.numpy()
        return rows


class FullLinear(nn.Module):
    """A linear layer in 8 bits whose inputs keep full precision: rounded, and the remainder.

    XNNPACK rounds between a token's least and greatest value. Two more columns, with weights of
    zero, set these ends, so that its steps fall on what was rounded before.

    Args:
        layer: in float32.
    """

    ends: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        codes, scales = _rounded(layer.weight.detach())
        weight = linear_weight(functional.pad(codes, (0, _N_MORE)), scales, 8)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = layer.bias
        ends = functional.pad(torch.tensor([-1.0 - _MAX_CODE, _MAX_CODE]), (0, _N_MORE - 2))
        self.register_buffer("ends", ends)

    def forward(self, x: Tensor) -> Tensor:
        """Float32 [n, length, n_in] to [n, length, n_out]."""
        steps = x.abs().amax(-1, keepdim=True) / _MAX_CODE + _TINY
        near = (x / steps + 0.5).floor() * steps
        ends = steps * self.ends
        coarse = functional.linear(torch.cat([near, ends], -1), self.weight, self.bias)
        fine = torch.cat([x - near, ends * _HALF_STEP], -1)
        return coarse + functional.linear(fine, self.weight)


def _store_in_8_bits(network: SentenceBert) -> None:
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Linear):
            network.set_submodule(name, FullLinear(module))
    if isinstance(network.word, nn.Embedding):
        codes, scales = _rounded(network.word.weight.detach())
        network.set_submodule("word", Lookup(codes, scales, 8))


def _rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Codes int8 [n, d] and scales float32 [n, 1] of a weight [n, d]."""
    scales = (weight.abs().amax(1, keepdim=True) / _MAX_CODE).clamp(min=_TINY)
    return (weight / scales).round().to(torch.int8), scales


def _packed(table: PackedTable) -> Lookup:
    low, high = table.codes & 15, table.codes >> 4
    codes = np.concatenate([low, high], axis=-1).reshape(len(table.codes), table.n_columns)
    scales = table.scales.astype(np.float32)
    return Lookup(torch.from_numpy(codes.astype(np.int8) - 8), torch.from_numpy(scales), 4)


class _UnitRows(nn.Module):
    """One text, which has no padding, to a row of length 1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor) -> Tensor:
        rows: Tensor = self.network(input_ids, torch.ones(input_ids.shape))
        return rows * (rows * rows).sum(-1, keepdim=True).rsqrt()
