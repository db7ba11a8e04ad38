"""A tower of a bundle, quantized into a folder that `MultiModalEncoder` can run.

<folder>/model.safetensors, quantization.json    the torch model, for further exports
<folder>/model.onnx                              what serves
<folder>/manifest.json                           which tower it is, and the hash of model.onnx
<folder>/sensitivity.json                        what was measured, if anything was
                                                     (and a picture of it with anymodal[plot])
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from encoder.extras import is_installed, require
from encoder.models.prepare.bundle_networks import load_network
from encoder.models.spec import ModelSpec
from encoder.models.tower_folder import ONNX, read_manifest, write_manifest

if TYPE_CHECKING:
    from encoder.quant.export import ExportReport
    from encoder.quant.quantized import QuantizedModel
    from encoder.quant.report import SensitivityReport

SENSITIVITY = "sensitivity.json"
MAX_ITEMS = 256


@dataclass(frozen=True, eq=False)
class QuantizedTower:
    """What `quantize_tower` made.

    Args:
        folder: see the module.
        model: the quantized model.
        export: what became of it as ONNX.
    """

    folder: Path
    model: QuantizedModel
    export: ExportReport

    def summary(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        facts = self.model.facts
        return {
            "folder": str(self.folder),
            "fp32_bytes": facts.fp32_nbytes,
            "bytes": self.model.nbytes,
            "onnx_bytes": (self.folder / ONNX).stat().st_size,
            "compression": round(self.model.compression, 2),
            "average_bits": round(self.model.average_bits, 2),
            "loss": facts.loss,
            "objective": facts.objective,
            "layers": {name: scheme.name for name, scheme in self.model.schemes.items()},
            "kept_fp32": list(facts.unsupported),
            "notes": list(facts.notes),
        }


def quantize_tower(
    model: str,
    tower: str,
    folder: Path,
    *,
    calibration: Path | None = None,
    max_items: int = MAX_ITEMS,
    config: str = "auto",
    mode: Literal["measured", "fisher"] = "measured",
    tune_steps: int = 0,
    **limits: Any,
) -> QuantizedTower:
    """Quantize a tower and write it to ``folder``.

    Args:
        model: a bundle, such as ``bundle:english``.
        tower: ``text``, ``image`` or ``audio``.
        folder: made if it is missing; measurements in it are used again.
        calibration: a folder of the tower's media; text brings its own.
        max_items: of it, evenly drawn; half fit and half judge.
        config: ``auto`` or one scheme, see `Quantizer.apply`.
        mode: see `Quantizer.analyze_sensitivity`.
        tune_steps: of `Quantizer.tune`, on the half that fits; 0 for none.
        limits: ``budget``, ``bits``, ``max_loss`` and ``keep`` of `Quantizer.apply`.

    Raises:
        AnymodalError: see `load_network` and `Quantizer`.
    """
    require("`anymodal quantize`", "torch", "onnxscript")
    from encoder.quant.quantizer import Quantizer

    network = load_network(model, tower)
    quantizer = Quantizer(
        network.module,
        calibration=network.read(calibration, max_items),
        objective=network.objective,
        cache=folder / "measured",
    )
    folder.mkdir(parents=True, exist_ok=True)
    if config == "auto" and mode == "fisher":
        quantizer.analyze_sensitivity(mode=mode)
    # it measures where it must, after it has read the limits: minutes, not to be lost to a typo
    quantized = quantizer.apply(config, **limits)
    if tune_steps:
        quantized = quantizer.tune(n_steps=tune_steps)
    if quantizer.report:
        _keep(quantizer.report, folder / SENSITIVITY)
    quantized.save(folder)
    export = quantizer.export_onnx(
        folder / ONNX, example=network.example, dynamic_axes=network.dynamic_axes
    )
    write_manifest(folder, str(ModelSpec.parse(model)), tower)
    return QuantizedTower(folder, quantized, export)


def _keep(report: SensitivityReport, path: Path) -> None:
    """What was measured, and a picture of it where there is something to draw with."""
    report.save(path)
    if is_installed("matplotlib"):
        report.plot(path.with_suffix(".png"))


def export_tower(
    folder: Path, path: Path, *, target: Literal["onnxruntime", "tensorrt"]
) -> ExportReport:
    """Export a quantized tower for another target.

    Args:
        folder: what `quantize_tower` wrote.
        path: the ``.onnx`` file to write.
        target: ``onnxruntime`` or ``tensorrt``.

    Raises:
        ModelError: the folder holds no quantized tower.
        InputError: the target cannot take one of its schemes.
    """
    require("Exporting a tower", "torch", "onnxscript")
    from encoder.quant.export import export_onnx
    from encoder.quant.quantized import load_quantized

    manifest = read_manifest(folder)
    network = load_network(manifest["model"], manifest["tower"])
    quantized = load_quantized(folder, network.module)
    return export_onnx(
        quantized.module,
        network.example,
        path,
        target=target,
        dynamic_axes=network.dynamic_axes,
    )
