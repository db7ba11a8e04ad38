"""A lane: one model's space, and what encodes into it."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from encoder.calibration.bank import completed
from encoder.config import EncoderConfig
from encoder.loading import load_model, precision_beside, with_bindings
from encoder.space import Space
from encoder.towers.base import EncoderObserver, observe_towers
from encoder.towers.dispatch import Dispatch
from encoder.types import Embeddings, Item, Modality


def config_beside(config: EncoderConfig) -> EncoderConfig:
    """How another model runs: files that were made for the first one do not apply to it."""
    is_own = isinstance(config.enable_dsre, bool) or config.enable_dsre == "auto"
    changes = {
        "bindings": (),
        "quantization": precision_beside(config.quantization),
        "enable_dsre": config.enable_dsre if is_own else "auto",
    }
    return config.model_copy(update=changes)


class Lane:
    """Opens a model; safe to use from threads.

    Args:
        name: of the model.
        config: how it runs; the model in it is not read.
        observer: called for each load and each batch.

    Raises:
        ModelError: it cannot be loaded.
    """

    def __init__(
        self, name: str, config: EncoderConfig, observer: EncoderObserver | None = None
    ) -> None:
        self.name, started = name, perf_counter()
        self._measured: Space | None = None
        self._measured_from: Space | None = None
        self.towers = load_model(
            name,
            device=config.device,
            n_threads=config.n_threads,
            quantization=config.quantization,
            enable_dsre=config.enable_dsre,
            keys=config.keys,
        )
        if config.bindings:
            self.towers = with_bindings(
                self.towers,
                config.bindings,
                n_threads=config.n_threads,
                quantization=config.quantization,
            )
        if observer:
            observer.loaded("model", perf_counter() - started)
            observe_towers([*self.towers.towers.items(), *self.towers.queries.items()], observer)
        self.dispatch = Dispatch(self.towers, config, observer)

    @property
    def model(self) -> str:
        return self.name

    @property
    def space(self) -> Space:
        """Dimension, fingerprint, calibration, and where roles matter."""
        return self.dispatch.space

    def measured_space(self) -> Space:
        """The space with a bank and constants, measured at first if the model ships none."""
        if self._measured is None or self._measured_from is not self.space:
            self._measured_from, self._measured = self.space, completed(self)
        return self._measured

    @property
    def modalities(self) -> frozenset[Modality]:
        """What it takes."""
        return self.dispatch.modalities

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        """Encode mixed items; the first float32 unit row of each, [len(items), embed_dim]."""
        return self.dispatch.first_rows(items)
