"""A tower of any model, quantized into a folder that `MultiModalEncoder` can run.

<folder>/model.safetensors, quantization.json    the torch model, for further exports
<folder>/model.onnx                              what is served
<folder>/manifest.json                           which tower it is, and the hash of model.onnx
<folder>/exported.json, tokenizer.json, ...      of hub models: what else serving needs
<folder>/sensitivity.json                        what was measured, if anything was
                                                     (and a picture of it with anymodal[plot])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.models.spec import ModelSpec
from encoder.models.tower_folder import MANIFEST, ONNX, write_manifest
from encoder.prepare.bundle import networks as bundle_networks
from encoder.prepare.hub import networks as hub_networks
from encoder.system.extras import is_installed, require

if TYPE_CHECKING:
    from encoder.quant.quantized import QuantizedModel

SENSITIVITY = "sensitivity.json"
MAX_ITEMS = 256
LEAST_COSINE = 0.99


@dataclass(frozen=True, eq=False)
class QuantizedTower:
    """What `quantize_tower` made.

    Args:
        folder: see the module.
        model: the quantized model.
        facts: the manifest's entries besides names; for hub models the cosines to float32.
    """

    folder: Path
    model: QuantizedModel
    facts: Mapping[str, Any]

    def summary(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        facts = self.model.facts
        return {
            "folder": str(self.folder),
            "fp32_bytes": facts.fp32_nbytes,
            "bytes": self.model.nbytes,
            "onnx_bytes": sum(path.stat().st_size for path in self.folder.glob(f"{ONNX}*")),
            "compression": round(self.model.compression, 2),
            "average_bits": round(self.model.average_bits, 2),
            "loss": facts.loss,
            "objective": facts.objective,
            "cosine": self.facts.get("measured"),
            "layers": {name: scheme.name for name, scheme in self.model.schemes.items()},
            "kept_fp32": list(facts.unsupported),
            "notes": list(facts.notes),
        }


def quantize_tower(
    model: str,
    tower: str,
    folder: Path,
    *,
    config: str = "auto",
    limits: Mapping[str, Any] | None = None,
    calibration: Path | None = None,
    max_items: int = MAX_ITEMS,
    least_cosine: float = LEAST_COSINE,
) -> QuantizedTower:
    """Quantize a tower and write it to ``folder``.

    Args:
        model: ``bundle:name``, ``hf:org/name@revision`` or ``dir:path``.
        tower: ``text``, ``image`` or ``audio``.
        folder: made if it is missing.
        config: ``auto`` or one scheme, see `Quantizer.apply`.
        limits: ``budget``, ``bits``, ``max_loss`` and ``keep`` of `Quantizer.apply`.
        calibration: a folder of the tower's media; text comes with its own.
        max_items: how many of them to use, evenly drawn; half fit and half judge.
        least_cosine: of a hub model's graph to float32, on average over the half that judges.

    Raises:
        AnymodalError: see `Quantizer`, and the ``read`` and ``write`` of the tower.
    """
    require("`anymodal models quantize`", "torch", "onnxscript")
    from encoder.quant.calibration import CalibrationData
    from encoder.quant.quantizer import Quantizer

    spec = ModelSpec.parse(model)
    network: bundle_networks.TowerNetwork | hub_networks.HubTower
    if spec.kind == "bundle":
        network = bundle_networks.load_network(str(spec), tower)
    else:
        network = hub_networks.load_network(spec, tower, folder)
    data = CalibrationData.split(network.read(calibration, max_items))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # not that of another tower, if this fails
    quantizer = Quantizer(network.module, calibration=data, objective=network.objective)
    # it measures only if needed, after reading the limits: a typo must not cost these minutes
    quantized = quantizer.apply(config, **(limits or {}))
    if quantizer.report:
        quantizer.report.save(folder / SENSITIVITY)
        if is_installed("matplotlib"):
            quantizer.report.plot((folder / SENSITIVITY).with_suffix(".png"))
    quantized.save(folder)
    facts = network.write(quantized.module, folder, data.score, least_cosine)
    write_manifest(folder, str(spec), tower, **facts)
    return QuantizedTower(folder, quantized, facts)
