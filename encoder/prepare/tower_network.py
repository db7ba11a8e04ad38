"""A tower as a torch network that can be quantized and then served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from encoder.models.tower_folder import ONNX

if TYPE_CHECKING:
    from torch import Tensor, nn

    from encoder.quant.calibration import Objective

Inputs: TypeAlias = "dict[str, Tensor]"


class QuantizableTower(Protocol):
    """What `encoder.prepare.quantized_tower` needs from any tower."""

    @property
    def module(self) -> nn.Module:
        """The network."""

    @property
    def objective(self) -> Objective:
        """What a loss is for it."""

    def read(self, source: Path | None, max_items: int, /) -> Sequence[Any]:
        """Calibration batches from a file or folder, of at most ``max_items`` items, evenly drawn.

        Without a source: data that comes with the tower, if there is any.

        Raises:
            InputError: there is none.
        """

    def write(
        self, module: nn.Module, folder: Path, judges: Sequence[Any], least_cosine: float
    ) -> Mapping[str, Any]:
        """Write what is served into ``folder``; return its entries for the manifest.

        Args:
            module: quantized.
            folder: exists.
            judges: batches that nothing was fitted to.
            least_cosine: to float32, on average over their items.

        Raises:
            ModelError: it cannot be exported, or is further from float32.
        """


@dataclass(frozen=True, eq=False)
class TowerNetwork:
    """A network that the `Quantizer` exports itself.

    Args:
        module: takes its inputs by keyword.
        objective: what a loss is for it.
        dynamic_axes: the axes of each input that may vary.
        example: random inputs, to trace the network with.
        read: see `QuantizableTower.read`.
    """

    module: nn.Module
    objective: Objective
    dynamic_axes: Mapping[str, Sequence[int]]
    example: Inputs
    read: Callable[[Path | None, int], list[Inputs]]

    def write(
        self, module: nn.Module, folder: Path, _judges: Sequence[Any], _least_cosine: float
    ) -> dict[str, Any]:
        """See `QuantizableTower.write`. Only weights are rounded, so the loss suffices."""
        from encoder.quant.export_onnx import export_onnx

        export_onnx(module, self.example, folder / ONNX, dynamic_axes=self.dynamic_axes)
        return {}
