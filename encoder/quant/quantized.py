"""A model with weights stored in few bits, and its folder on disk.

Importing this imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from encoder.errors import ModelError
from encoder.onnx.codes import Layout
from encoder.quant.folding import fold
from encoder.quant.schemes import Scheme
from encoder.quant.stored import buffers, put, stored_in_modules, stored_layers
from encoder.quant.uses import plain
from encoder.quant.weights import PackedWeight

WEIGHTS = "model.safetensors"
FACTS = "quantization.json"
_VERSION = 1


@dataclass(frozen=True)
class QuantizationFacts:
    """What is known about how a model was quantized.

    Args:
        fp32_nbytes: of the model before quantization.
        loss: the divergence measured on data that nothing was fitted to; None without data.
        objective: how ``loss`` was measured, ``kl`` or ``cosine``; empty without data.
        unsupported: large parameters that stay FP32, since no scheme is available for them.
        notes: fallbacks, such as a group size that does not divide a row.
        folds: layers by the batch norms that were folded into them, by name.
    """

    fp32_nbytes: int
    loss: float | None = None
    objective: str = ""
    unsupported: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    folds: Mapping[str, str] = field(default_factory=dict)


class QuantizedModel(nn.Module):
    """Runs as the original did; see `Quantizer.apply`."""

    def __init__(self, module: nn.Module, facts: QuantizationFacts) -> None:
        super().__init__()
        self.module = module.eval()
        self.facts = facts

    def forward(self, *inputs: Any, **named_inputs: Any) -> Any:
        """Takes and returns whatever the original does."""
        return self.module(*inputs, **named_inputs)

    @property
    def schemes(self) -> dict[str, Scheme]:
        """The scheme of each quantized layer, by name."""
        return {name: layer.scheme for name, layer in stored_layers(self.module)}

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters and buffers: codes, scales, biases, norms; shared ones once."""
        return model_nbytes(self.module)

    @property
    def average_bits(self) -> float:
        """Bits per parameter of the original, counting scales, biases and norms."""
        return 32 * self.nbytes / self.facts.fp32_nbytes

    @property
    def compression(self) -> float:
        """How many times smaller than FP32."""
        return self.facts.fp32_nbytes / self.nbytes

    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``quantization.json`` into ``folder``, and return it."""
        from safetensors.torch import save_model

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.module, str(folder / WEIGHTS))
        facts = {**vars(self.facts), "version": _VERSION, "layers": _describe(self.module)}
        (folder / FACTS).write_text(json.dumps(facts, indent=1), "utf-8")
        return folder


def load_quantized(
    folder: str | Path, model: nn.Module | Callable[[], nn.Module]
) -> QuantizedModel:
    """Load what `QuantizedModel.save` wrote.

    Args:
        folder: where it was saved.
        model: a model of the same architecture (changed in place; its weights do not matter), or
            a callable without arguments that makes one, such as its class.

    Raises:
        ModelError: the folder holds no quantized model, or one of a different architecture.
    """
    folder = Path(folder)
    facts, tensors = _read(folder)
    module = plain((model if isinstance(model, nn.Module) else model()).eval())
    layers = facts.pop("layers")
    try:
        fold(module, facts["folds"])
        _restore(module, layers, tensors)
    except (AttributeError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"{folder} was not saved from {type(module).__name__} as it is here: {error}.",
            remedy="Pass a model of the architecture that was quantized.",
        ) from error
    for name in ("unsupported", "notes"):
        facts[name] = tuple(facts[name])
    return QuantizedModel(module, QuantizationFacts(**facts))


def model_nbytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers, shared storage once."""
    tensors = [*module.parameters(), *module.buffers()]
    return sum({t.data_ptr(): t.nbytes for t in tensors if t.nbytes}.values())


def _describe(module: nn.Module) -> dict[str, dict[str, Any]]:
    """Each quantized layer's scheme, parameter and shape."""
    return {
        f"{name}.{layer.parameter}": {
            "module": name,
            "scheme": layer.scheme.name,
            "parameter": layer.parameter,
            **vars(layer.layout),
        }
        for name, layer in stored_in_modules(module)
    }


def _restore(module: nn.Module, layers: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    for name, layer in layers.items():
        shape, axes = tuple(layer["shape"]), tuple(layer["axes"])
        layout = Layout(shape, axes, layer["n_groups"], layer["kind"])
        owner_name, parameter = layer["module"], layer["parameter"]
        prefix = f"{owner_name}." if owner_name else ""
        packed, scales = (tensors[f"{prefix}{buffer}"] for buffer in buffers(parameter))
        weight = PackedWeight(Scheme.parse(layer["scheme"]), packed, scales, layout.n_columns)
        owner = module.get_submodule(owner_name)
        if (own_shape := tuple(getattr(owner, parameter).shape)) != shape:
            raise KeyError(f"{name} has the shape {own_shape}, not {shape}")
        put(owner, parameter, weight, layout)
    module.load_state_dict(tensors)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError

    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        tensors = _read_tensors(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"{folder} holds no quantized model: {error}.",
            remedy="Give a folder that QuantizedModel.save or `anymodal models quantize` wrote.",
        ) from error
    if facts.pop("version", None) != _VERSION:
        raise ModelError(
            f"{folder / FACTS} is of another version.", remedy="Quantize the model again."
        )
    return facts, tensors


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors by name; the file stores a shared tensor under only one of its names."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        shared = file.metadata() or {}
    return tensors | {
        name: tensors[kept_name] for name, kept_name in shared.items() if kept_name in tensors
    }
