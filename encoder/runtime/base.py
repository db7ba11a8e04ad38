"""What it takes to run a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""Any numpy array; the network's owner says which shape and dtype."""


class Session(Protocol):
    """A network that is loaded and can be run from several threads at once."""

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Run the network once.

        Args:
            inputs: arrays by input name; the network's owner documents names, shapes, dtypes.

        Returns:
            The outputs, in the network's order.
        """
        ...
