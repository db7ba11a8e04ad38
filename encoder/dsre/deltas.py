"""Small changes of a network's weights that make up for merging tokens.

A matrix changes by a product of two thin ones (LoRA, Hu et al. 2021), a vector by itself. They
are added to a copy of the weights: the structure stays, and so does the network that runs dense.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

    Network = TypeVar("Network", bound=nn.Module)

Deltas = Mapping[str, NDArray[np.float16]]
"""By the parameter's name: a vector's change [n] as it is; a matrix's [n_out, n_in] under its
name with `UP` [n_out, rank] and with `DOWN` [rank, n_in]."""

UP, DOWN = ":up", ":down"


def digest(deltas: Deltas) -> str:
    """A hash of all names and values; equal only where the weights are."""
    found = hashlib.sha256()
    for name, values in sorted(deltas.items()):
        found.update(f"{name} {values.shape} ".encode())
        found.update(np.ascontiguousarray(values, np.float16).tobytes())
    return found.hexdigest()


def changed(network: Network, deltas: Deltas) -> Network:
    """A copy of a network with the changes added; the network itself if there are none.

    Raises:
        ModelError: a change is for no parameter of the network, or of another shape.
    """
    import torch

    if not deltas:
        return network
    copy = deepcopy(network)
    parameters = dict(copy.named_parameters())
    with torch.no_grad():
        for name, change in expand(deltas).items():
            if name not in parameters or parameters[name].shape != change.shape:
                raise _misfit(name, change, parameters.get(name))
            parameters[name].add_(torch.from_numpy(change))
    return copy


def expand(deltas: Deltas) -> dict[str, NDArray[np.float32]]:
    """The full change of each parameter.

    >>> thin = np.ones((2, 1), np.float16)
    >>> expand({"weight:up": thin, "weight:down": thin.T})["weight"].tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    full = {}
    for name, values in deltas.items():
        if name.endswith(UP):
            name = name.removesuffix(UP)
            down = deltas[name + DOWN].astype(np.float32)
            full[name] = values.astype(np.float32) @ down
        elif not name.endswith(DOWN):
            full[name] = values.astype(np.float32)
    return full


def _misfit(name: str, change: NDArray[np.float32], parameter: nn.Parameter | None) -> ModelError:
    has = "no such parameter" if parameter is None else f"one of {list(parameter.shape)}"
    return ModelError(
        f"The gate changes {name} {list(change.shape)}; the network has {has}.",
        remedy="Distill one for this model with `anymodal dsre distill`.",
    )
