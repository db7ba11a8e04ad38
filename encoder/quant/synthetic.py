"""Inputs for a model without calibration data, made from the model itself.

The inputs of a forward are derived from its parameters' names, the model's configuration and its
first layer; pictures and the like are then changed until the inputs of the batch norms have the
mean and variance recorded in training (as in ZeroQ, Cai et al., 2020). Importing this imports
torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from encoder.errors import ModelError
from encoder.quant.calibration import Batch, CalibrationData, evaluating, forward, run

_N_BATCHES, _N_ITEMS = 4, 8
_N_TOKENS, _N_SAMPLES = 32, 16_000
_SIDES: Mapping[type[nn.Module], tuple[tuple[int, ...], ...]] = {
    nn.Conv1d: ((1024,), (_N_SAMPLES,)),
    nn.Conv2d: ((64, 64), (224, 224), (28, 28)),
    nn.Conv3d: ((8, 64, 64), (16, 112, 112)),
}
_KNOWN = (
    nn.Embedding, nn.EmbeddingBag, nn.Linear, nn.Bilinear, nn.RNNBase, nn.MultiheadAttention,
    nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, *_SIDES,
)  # fmt: skip
_TRANSPOSED: Mapping[type[nn.Module], tuple[int, ...]] = {
    nn.ConvTranspose1d: (64,),
    nn.ConvTranspose2d: (8, 8),
    nn.ConvTranspose3d: (4, 8, 8),
}
_STEPS, _RATE = 30, 0.1


def synthetic(model: nn.Module, n_steps: int = _STEPS) -> CalibrationData | None:
    """Tokens, vectors, pictures or sounds that the model takes; None if none is found.

    Enough to rank layers roughly: real inputs rank them better, and real losses differ.
    """
    with torch.random.fork_rng(devices=[]), evaluating(model):
        torch.manual_seed(0)
        for number, batch in enumerate(_guesses(model)):
            if _runs(model, batch):
                repeats = range(_N_BATCHES - 1)
                batches = [batch, *(list(_guesses(model))[number] for _ in repeats)]
                return CalibrationData.split([_like_norms(model, x, n_steps) for x in batches])
    return None


def example_for(model: nn.Module) -> Batch | None:
    """The first of the batches that `synthetic` starts from; None if none is found."""
    with torch.random.fork_rng(devices=[]), evaluating(model):
        torch.manual_seed(0)
        return next((batch for batch in _guesses(model) if _runs(model, batch)), None)


def _runs(model: nn.Module, batch: Batch) -> bool:
    try:
        return bool(torch.isfinite(run(model, batch)).all())
    except ModelError:
        return False


def _guesses(model: nn.Module) -> Iterator[Batch]:
    """Inputs that the model might take, most likely first."""
    first = next((m for m in model.modules() if isinstance(m, _KNOWN)), None)
    if first is None:
        return
    by_name = _by_names(model, first)
    if by_name:
        yield by_name
    if isinstance(first, nn.Embedding | nn.EmbeddingBag):
        ids = torch.randint(first.num_embeddings, (_N_ITEMS, _N_TOKENS))
        yield ids
        features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        yield features
    elif isinstance(first, nn.Bilinear):
        yield torch.randn(_N_ITEMS, first.in1_features), torch.randn(_N_ITEMS, first.in2_features)
    elif isinstance(first, nn.MultiheadAttention):
        query, key, value = (
            torch.randn(_N_ITEMS, _N_TOKENS, dim)
            for dim in (first.embed_dim, first.kdim, first.vdim)
        )
        yield query
        yield query, key
        yield query, key, value
    elif isinstance(first, nn.RNNBase):
        yield torch.randn(_N_ITEMS, _N_TOKENS, first.input_size)
    elif isinstance(first, nn.Linear):
        yield torch.randn(_N_ITEMS, first.in_features)
        yield torch.randn(_N_ITEMS, _N_TOKENS, first.in_features)
    else:
        yield from _places(first)


def _places(first: nn.Module) -> Iterator[Tensor]:
    """Inputs of a convolution, smooth as pictures and sounds are."""
    n_channels = int(cast(Any, first).in_channels)
    kinds = {**_SIDES, **{cls: (side,) for cls, side in _TRANSPOSED.items()}}
    for sides in next(sides for cls, sides in kinds.items() if isinstance(first, cls)):
        yield _smooth(n_channels, sides)


def _smooth(n_channels: int, sides: tuple[int, ...]) -> Tensor:
    """Noise at several scales, of variance 1, [n, n_channels, *sides]."""
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(sides)]
    total = torch.zeros(_N_ITEMS, n_channels, *sides)
    for step in (1, 4, 16):
        small = torch.randn(_N_ITEMS, n_channels, *(max(1, side // step) for side in sides))
        total += functional.interpolate(small, sides, mode=mode)
    return total / total.std()


def _by_names(model: nn.Module, first: nn.Module) -> dict[str, Tensor]:
    """What the names of the forward's parameters ask for, as far as they are known."""
    parameters = inspect.signature(model.forward).parameters
    config = getattr(model, "config", None)
    inputs = {
        name: value for name in parameters if (value := _named(name, config, first)) is not None
    }
    ids = inputs.get("input_ids")
    if ids is not None:
        for name, parameter in parameters.items():
            if name == "attention_mask":
                inputs[name] = torch.ones_like(ids)
            elif "mask" in name and parameter.default is parameter.empty:
                inputs[name] = torch.ones(ids.shape)
    return inputs


def _named(name: str, config: Any, first: nn.Module) -> Tensor | None:
    """The value of one parameter; None for those that do not need one."""
    if name == "input_ids" or (name == "decoder_input_ids" and _setting(config, "decoder_layers")):
        n_tokens = min(_N_TOKENS, _setting(config, "max_position_embeddings") or _N_TOKENS)
        vocabulary = _setting(config, "vocab_size") or getattr(first, "num_embeddings", 0)
        return torch.randint(vocabulary, (_N_ITEMS, n_tokens)) if vocabulary else None
    if name == "pixel_values":
        side = _setting(config, "image_size") or 224
        sides = (side, side) if isinstance(side, int) else tuple(side)
        return _smooth(_setting(config, "num_channels") or 3, sides)
    if name == "input_features" and _setting(config, "num_mel_bins"):
        n_frames = 2 * (_setting(config, "max_source_positions") or 512)
        return torch.randn(_N_ITEMS, _setting(config, "num_mel_bins"), n_frames)
    if name == "input_values" and config is not None:
        return torch.randn(_N_ITEMS, _N_SAMPLES)
    return None


def _setting(config: Any, name: str) -> Any:
    """A setting of a transformers model, or of one of its towers."""
    towers = [getattr(config, f"{tower}_config", None) for tower in ("text", "vision", "audio")]
    for settings in (config, *towers):
        if (value := getattr(settings, name, None)) is not None:
            return value
    return None


def _like_norms(model: nn.Module, batch: Batch, n_steps: int) -> Batch:
    """A batch of floats, changed towards what the batch norms of the model recorded."""
    norms = [
        module for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]  # fmt: skip
    if not norms or not isinstance(batch, Tensor) or not batch.is_floating_point():
        return batch
    differences: list[Tensor] = []
    hooks = [norm.register_forward_pre_hook(_noting(differences)) for norm in norms]
    x = batch.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([x], lr=_RATE)
    try:
        with torch.enable_grad():
            for _ in range(n_steps):
                differences.clear()
                forward(model, x)
                (gradient,) = torch.autograd.grad(torch.stack(differences).mean(), [x])
                x.grad = gradient
                optimizer.step()
    finally:
        for hook in hooks:
            hook.remove()
    matched = x.detach()
    return matched if torch.isfinite(matched).all() else batch


def _noting(differences: list[Tensor]) -> Any:
    def note(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        axes = [axis for axis in range(inputs[0].ndim) if axis != 1]
        mean, spread = inputs[0].mean(axes), inputs[0].var(axes, unbiased=False)
        variance = norm.running_var + norm.eps
        shift = (mean - norm.running_mean).square() / variance
        ratio = ((spread + norm.eps) / variance).log().square()
        differences.append((shift + ratio).mean())

    return note
