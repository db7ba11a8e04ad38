"""How a hub model runs in torch in bfloat16."""

from __future__ import annotations

from collections.abc import Iterable
from functools import wraps
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from encoder.errors import ModelError
from encoder.runtime.trial import cpu_model, instruction_sets

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_BF16_SETS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What Intel, AMD and ARM call it."""


def run_in_bf16(name: str, model: SentenceTransformer) -> None:
    """Make a network multiply in bfloat16; pooling and what follows it stay in float32.

    Weights of linear layers are kept in bfloat16, which halves their size. Those of towers that a
    process never uses are not even read from their file: they change just before they first run.
    Raises a ModelError where the processor would compute it piece by piece, more slowly than
    float32.
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
    lock = Lock()
    for module in model.modules():
        if any(_linears(module)):
            _halve_before(module, lock)


def _halve_before(module: nn.Module, lock: Lock) -> None:
    def before(module: nn.Module, _: Any) -> None:
        # Changed weights must outlive the call, which may run in inference mode.
        with lock, torch.inference_mode(False), torch.no_grad():
            for linear in _linears(module):
                linear.to(torch.bfloat16)
            handle.remove()

    handle = module.register_forward_pre_hook(before)


def _linears(module: nn.Module) -> Iterable[nn.Linear]:
    # Subclasses are there to be treated differently.
    return (child for child in module.children() if type(child) is nn.Linear)


def _as_float(value: Any) -> Any:
    is_half = isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16
    return value.float() if is_half else value
