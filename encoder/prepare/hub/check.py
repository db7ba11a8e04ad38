"""How close an exported model is to the one it was made from, on real inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from encoder.errors import ModelError
from encoder.models.hub import towers_of
from encoder.prepare.hub.samples import samples
from encoder.towers import hub as towers
from encoder.types import DOCUMENT

if TYPE_CHECKING:
    from encoder.towers.model import Model

LEAST_COSINE: dict[str | None, float] = {None: 0.999, "bf16": 0.99, "int8": 0.99, "int4": 0.98}
"""The mean cosine to float32 that a precision must keep. Float32's is below 1, since Pillow and
torchvision round the pixels of a resized picture differently."""


def measure(
    joint: towers.JointEncoder, exported: Model, facts: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    """Cosines of the exported model's vectors to torch's, mean and least, by modality.

    Raises:
        ModelError: a mean is below `LEAST_COSINE`.
    """
    measured: dict[str, dict[str, float]] = {}
    contents = samples()
    for modality, tower in towers_of(joint, facts["prompts"][DOCUMENT].__getitem__).items():
        expected, exported_rows = (
            either.forward([either.prepare(content) for content in contents[modality]]).rows
            for either in (tower, exported.towers[modality])
        )
        cosines = (expected * exported_rows).sum(axis=1)
        measured[modality] = {"mean": float(cosines.mean()), "least": float(cosines.min())}
    _check(joint.name, measured, facts["precision"])
    return measured


def _check(name: str, measured: Mapping[str, Mapping[str, float]], precision: str | None) -> None:
    least = LEAST_COSINE[precision]
    for modality, cosines in measured.items():
        if not cosines["mean"] >= least:
            weaker = {"int4": "int8", "int8": "None", "bf16": "None"}.get(precision or "", "")
            raise ModelError(
                f"{name} in {precision or 'float32'}: vectors of {modality} have a mean cosine of "
                f"{cosines['mean']:.4f} to those of torch, less than {least}.",
                remedy=f"Use quantization={weaker}."
                if weaker
                else "Leave out quantization to run it with torch.",
            )
