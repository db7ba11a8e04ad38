"""How a hub model runs in torch: in which precision, and what multiplies its matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from encoder.errors import ModelError
from encoder.networks.first_use import PackedLinear, change_on_first_use, shapes, to_bf16
from encoder.runtime.base import Array
from encoder.runtime.torch import threads
from encoder.runtime.trial import cpu_model, fastest_session, instruction_sets
from encoder.system.cache import cache_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_BF16_SETS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What Intel, AMD and ARM call it."""

_WORTH_PACKING = 2**16
"""The number of weights below which the call of a layer takes longer than its product."""

_TRIAL_TOKENS = (32, 256)
_SAME_COSINE = 1 - 1e-7


def run_in_bf16(name: str, model: SentenceTransformer) -> None:
    """Make a network multiply in bfloat16; pooling and what follows it stay in float32.

    Weights of linear layers are kept in bfloat16, which halves their size. Raises a ModelError
    where the processor would compute it piece by piece, more slowly than float32.
    """
    device = model.device.type
    if device == "cpu" and not _BF16_SETS & set(instruction_sets().split()):
        raise ModelError(
            f'{name}: quantization="bf16" needs a processor that multiplies in bfloat16; '
            f"{cpu_model()} does not.",
            remedy='Leave quantization out, or use "auto".',
        )
    first: Any = model[0]
    plain = first.forward

    @wraps(plain)
    def forward(*arguments: Any, **options: Any) -> Any:
        with torch.autocast(device, torch.bfloat16):
            features = plain(*arguments, **options)
        return {key: _as_float(value) for key, value in features.items()}

    first.forward = forward
    change_on_first_use(model, to_bf16)


def pack_if_faster(model: SentenceTransformer, n_threads: int | None) -> None:
    """Give linear layers to oneDNN where a short trial of the network's shapes finds it faster.

    The trial is made once on a machine. The vectors are the same.
    """
    layers = [layer for layer in shapes(model) if layer.weight.numel() >= _WORTH_PACKING]
    if model.device.type != "cpu" or not layers or not torch.backends.mkldnn.is_available():
        return
    facts = {
        "network": " ".join(f"{layer.out_features}x{layer.in_features}" for layer in layers),
        "cpu": f"{cpu_model()} {instruction_sets()}",
        "threads": str(n_threads),
        "torch": str(torch.__version__),
    }
    fastest = fastest_session(
        {
            "torch": partial(_Layers, layers, n_threads),
            "onednn": partial(_packed, layers, n_threads),
        },
        partial(_examples, layers),
        facts=facts,
        memory=cache_folder("trials"),
        min_cosine=_SAME_COSINE,
    )
    if isinstance(fastest, _PackedLayers):
        change_on_first_use(model, PackedLinear)


class _Layers:
    """A `Session` over single layers: each takes as many of the columns as it needs."""

    def __init__(self, layers: Sequence[Any], n_threads: int | None) -> None:
        self._layers = layers
        self._n_threads = n_threads

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """See `Session.run`; ``rows`` float32 [n, columns]."""
        rows = torch.from_numpy(inputs["rows"])
        with threads(self._n_threads), torch.inference_mode():
            outputs = [layer(rows[:, : layer.in_features].contiguous()) for layer in self._layers]
        return [output.numpy() for output in outputs]


class _PackedLayers(_Layers):
    """The same by oneDNN."""


def _packed(layers: Sequence[nn.Linear], n_threads: int | None) -> _PackedLayers:
    return _PackedLayers([PackedLinear(layer) for layer in layers], n_threads)


def _examples(layers: Sequence[nn.Linear]) -> list[dict[str, Array]]:
    rng = np.random.default_rng(0)
    width = max(layer.in_features for layer in layers)
    return [{"rows": rng.standard_normal((n, width), np.float32)} for n in _TRIAL_TOKENS]


def _as_float(value: Any) -> Any:
    is_half = isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16
    return value.float() if is_half else value
