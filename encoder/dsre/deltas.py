"""Small changes of a network's weights that make up for merging tokens.

A matrix changes by a product of two thin ones (LoRA, Hu et al. 2021), a vector by a vector. The
changes are added to a copy of the weights: the structure stays the same, and so does the network
that runs dense.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError

Deltas = Mapping[str, NDArray[np.float16]]
"""Changes by parameter name. A vector's change [n] is stored as it is; that of a matrix
[n_out, n_in] under its name with `UP` [n_out, rank] and with `DOWN` [rank, n_in]."""

UP, DOWN = ":up", ":down"


def digest(deltas: Deltas) -> str:
    """A hash of all names and values; equal only where the weights are."""
    sha256 = hashlib.sha256()
    for name, values in sorted(deltas.items()):
        sha256.update(f"{name} {values.shape} ".encode())
        sha256.update(np.ascontiguousarray(values, np.float16).tobytes())
    return sha256.hexdigest()


def added(
    weights: Mapping[str, NDArray[np.float32]], deltas: Deltas
) -> Mapping[str, NDArray[np.float32]]:
    """Weights by name with the changes added.

    Raises:
        ModelError: see `expand`.
    """
    changes = expand(deltas, {name: array.shape for name, array in weights.items()})
    return {**weights, **{name: weights[name] + change for name, change in changes.items()}}


def expand(deltas: Deltas, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """The full change of each parameter.

    Args:
        deltas: of a gate.
        shapes: of the network's parameters.

    Raises:
        ModelError: a change matches no parameter of the network, or has a different shape.

    >>> thin = np.ones((2, 1), np.float16)
    >>> expand({"weight:up": thin, "weight:down": thin.T}, {"weight": (2, 2)})["weight"].tolist()
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
    for name, change in full.items():
        if shapes.get(name) != change.shape:
            raise _misfit(name, change, shapes.get(name))
    return full


def _misfit(name: str, change: NDArray[np.float32], shape: Sequence[int] | None) -> ModelError:
    has = "no such parameter" if shape is None else f"one of {list(shape)}"
    return ModelError(
        f"The gate changes {name} {list(change.shape)}; the network has {has}.",
        remedy="Use the gate with the model that it was made for, or calibrate one.",
    )
