"""What is compared: models, each in some precisions and with or without a gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from encoder.config import EncoderConfig

if TYPE_CHECKING:
    from encoder import MultiModalEncoder
    from encoder.config import EncoderConfig


@dataclass(frozen=True)
class Subject:
    """A model and how it runs; None for a choice leaves it to the settings."""

    model: str
    precision: str | None = None
    gate: str | None = None

    def __str__(self) -> str:
        gate = f"gate {self.gate}" if self.gate else ""
        return ", ".join(word for word in (self.model, self.precision, gate) if word)

    def open(self, config: EncoderConfig) -> MultiModalEncoder:
        """Load it.

        Raises:
            ModelError: there is no such model, or not with this precision or gate.
        """
        from encoder import MultiModalEncoder

        overrides = {"quantization": self.precision, "enable_dsre": self.gate}
        update = {name: value for name, value in overrides.items() if value is not None}
        values = config.model_dump() | {"model": self.model} | update
        return MultiModalEncoder(config=EncoderConfig(**values))


def subjects(
    models: Sequence[str], precisions: Sequence[str], gates: Sequence[str]
) -> list[Subject]:
    """Each model with each precision and each gate.

    >>> [str(one) for one in subjects(["bundle:english"], ["none", "int8"], [])]
    ['bundle:english, none', 'bundle:english, int8']
    """
    return [Subject(*way) for way in product(models, precisions or (None,), gates or (None,))]
