"""The main entry point: measure, choose a bit width for every layer, quantize, export.

Importing this imports torch.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from encoder.errors import InputError
from encoder.quant.allocate import Allocation, allocate, attention_groups, pinned
from encoder.quant.calibration import (
    Batch,
    CalibrationData,
    Objective,
    compare_output,
    in_float32,
)
from encoder.quant.fit import quantize
from encoder.quant.folding import folded
from encoder.quant.layers import Layer, some_layers, unsupported
from encoder.quant.limits import Target, check_limits, check_target, parse_budget, takes
from encoder.quant.quantized import (
    QuantizationFacts,
    QuantizedModel,
    load_quantized,
    model_nbytes,
)
from encoder.quant.schemes import FP32, Scheme
from encoder.quant.sensitivity import analyze, choose_objective, loss_of
from encoder.quant.synthetic import example_for, synthetic
from encoder.quant.uses import plain
from encoder.system.progress import progress_bar

if TYPE_CHECKING:
    from encoder.quant.export_onnx import ExportReport
    from encoder.quant.report import SensitivityReport

Config = str | Scheme | Mapping[str, str | Scheme]
AUTO_LOSS = 0.003
"""The loss allowed to ``config="auto"``: 1 − cosine for embeddings, KL in nats for classifiers."""
_ATTEMPTS = 4
_SYNTHETIC_NOTE = (
    "There was no calibration data: losses are estimates, on inputs synthesized from the model."
)


class Quantizer:
    """Quantizes any torch model's linear, convolutional, recurrent and embedding weights.

    The model itself is never changed, and stays in its mode, training or not.

    Args:
        model: the model to quantize; it takes the calibration batches. One in float64, float16 or
            bfloat16 is quantized as float32.
        calibration: batches (tensors, tuples or dicts of keywords) or one tensor [n, ...]. Half
            of it fits the weights, the other half judges; a `CalibrationData` specifies which.
            Without it weights are rounded by HQQ, and steps that need data use inputs made from
            the model (`synthetic`), which reports and facts then say.
        outputs: what losses are measured on and `export_onnx` writes, where the model returns
            several: the name of an output (``heads.age``, ``0``); or of a module whose output is
            compared, as for a detector, whose boxes come and go. None for the first or the usual.
        objective: ``kl`` for classifiers, ``cosine`` for embedders; ``auto`` looks at the model.
        progress: show a bar on a terminal.

    Raises:
        InputError: not a module, weights that are not finite, or too little calibration data.

    >>> import torch
    >>> from encoder import Quantizer
    >>> layers = torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8)
    >>> model = torch.nn.Sequential(*layers)
    >>> quantizer = Quantizer(model, calibration=torch.randn(64, 64), progress=False)
    >>> quantizer.apply(bits=6).average_bits <= 6
    True
    """

    def __init__(
        self,
        model: nn.Module,
        calibration: CalibrationData | Iterable[Batch] | Tensor | None = None,
        *,
        outputs: str | None = None,
        objective: Objective | Literal["auto"] = "auto",
        progress: bool = True,
    ) -> None:
        self._model = _evaluating(model)
        some_layers(self._model)  # refuses weights that are not finite
        if outputs:
            compare_output(self._model, outputs)
        self._data: CalibrationData | None = None
        if calibration is not None:
            data = calibration
            if not isinstance(data, CalibrationData):
                data = CalibrationData.split(data)
            if any(x.dtype != torch.float32 for x in model.parameters() if x.is_floating_point()):
                data = CalibrationData(*(list(map(in_float32, x)) for x in (data.fit, data.score)))
            self._data = data
        self._objective = objective
        self._progress = progress
        self._report: SensitivityReport | None = None
        self._quantized: QuantizedModel | None = None
        self._target: Target | None = None

    def analyze_sensitivity(
        self, *, schemes: Sequence[str | Scheme] | None = None
    ) -> SensitivityReport:
        """How much the output suffers from storing a single layer in a scheme, for all of both.

        Args:
            schemes: the candidates; None to choose by the kind of layer.

        Raises:
            InputError: an unknown scheme; or no calibration data, and none can be made.
        """
        report = analyze(
            self._folded[0],
            self._need_data("analyze_sensitivity"),
            schemes=[Scheme.parse(scheme) for scheme in schemes] if schemes else None,
            objective=self.objective,
            rounding="gptq" if self._data else "hqq",
            progress=self._progress,
        )
        if not self._data:
            notes = (*report.notes, _SYNTHETIC_NOTE)
            report = replace(report, is_estimate=True, notes=notes)
        self._report = report
        return report

    @property
    def report(self) -> SensitivityReport | None:
        """The last analysis, if there was one."""
        return self._report

    @cached_property
    def objective(self) -> Objective:
        """How a loss is measured for this model."""
        if self._objective == "auto":
            return choose_objective(self._model, self._need_data("objective").score[0])
        return self._objective

    def apply(
        self,
        config: Config = "auto",
        *,
        budget: str | int | None = None,
        bits: float | None = None,
        max_loss: float | None = None,
        keep: Mapping[str, str | Scheme] | None = None,
        target: Target | None = None,
    ) -> QuantizedModel:
        """Quantize a copy of the model.

        Args:
            config: ``auto`` chooses by measured sensitivity; or one scheme for all layers
                (``int8``); or a scheme for each layer name or pattern, the others stay FP32.
            budget: for ``auto``, the size of the whole model: ``"1/8"``, ``"12MB"`` or bytes.
            bits: the same as an average per parameter, counting everything; 3 to 32.
            max_loss: make the smallest model whose measured loss is at most this. Without any of
                the three it is `AUTO_LOSS`.
            keep: layer names or patterns to pin to a scheme, such as ``{"classifier": "fp16"}``.
            target: the runtime that will run it: only schemes that it takes are chosen, see
                `limits.Target`. None for whatever is smallest.

        Raises:
            InputError: settings that contradict each other, or a scheme that ``target`` does not
                take.

        Warns:
            BudgetWarning: the budget cannot be met; the message says why, and what was done
                instead.
        """
        limits = {"budget": budget, "bits": bits, "max_loss": max_loss}
        check_limits(config, limits)
        check_target(target)
        self._target = target
        if config != "auto":
            self._quantized = self._quantize(self._explicit(config, keep or {}))
        elif budget is not None or bits is not None:
            max_bytes = parse_budget(budget, bits=bits, fp32_nbytes=model_nbytes(self._model))
            self._quantized = self._quantize(self._allocate(keep, max_bytes=max_bytes).schemes)
        else:
            self._quantized = self._within(AUTO_LOSS if max_loss is None else max_loss, keep)
        return self._quantized

    def export_onnx(
        self,
        path: str | Path | None = None,
        *,
        target: Target | None = None,
        example: Batch | None = None,
        dynamic_axes: Mapping[str, Sequence[int]] | None = None,
    ) -> ExportReport:
        """Write what `apply` made as ONNX; see `encoder.quant.export_onnx.export_onnx`.

        Args:
            path: the ``.onnx`` file; None for one named after the model's class, in the working
                directory.
            target: ``onnxruntime``, ``tensorrt`` or ``openvino``; None for the one of `apply`.
            example: inputs to trace with; None for a calibration batch.
            dynamic_axes: the axes that may vary, by input name; None for the first of each.

        Raises:
            InputError: nothing was applied yet, no example, or a scheme the target cannot take.
        """
        from encoder.quant.export_onnx import export_onnx

        if self._quantized is None:
            raise InputError(
                "export_onnx", got="no quantized model", wanted="a call of apply() first"
            )
        others: Sequence[Batch] = ()
        if example is None:
            example, *others = self._need_data("export_onnx without example").score
        return export_onnx(
            self._quantized.module,
            example,
            Path(path or f"{type(self._model).__name__}.onnx"),
            target=target or self._target or "onnxruntime",
            dynamic_axes=dynamic_axes,
            others=others[:1],
        )

    @staticmethod
    def load(folder: str | Path, model: nn.Module | Callable[[], nn.Module]) -> QuantizedModel:
        """See `encoder.quant.quantized.load_quantized`."""
        return load_quantized(folder, model)

    @cached_property
    def _layers(self) -> dict[str, Layer]:
        """What can be quantized, as seen on a batch; without one every matrix."""
        batch = self._data.score[0] if self._data else example_for(self._model)
        return some_layers(self._model, batch)

    @cached_property
    def _folded(self) -> tuple[nn.Module, dict[str, str]]:
        """The model to quantize, with its batch norms folded into the layers before them."""
        return folded(self._model, self._data.score[0]) if self._data else (self._model, {})

    def _within(self, max_loss: float, keep: Mapping[str, str | Scheme] | None) -> QuantizedModel:
        """The smallest model found whose measured joint loss is within ``max_loss``."""
        ceiling = max_loss
        for _ in range(_ATTEMPTS):
            quantized = self._quantize(self._allocate(keep, max_loss=ceiling).schemes)
            loss = quantized.facts.loss
            assert loss is not None  # the analysis had data
            if loss <= max_loss:
                return quantized
            # the layers' losses do not quite add up: aim lower by the factor missed
            ceiling *= 0.9 * max_loss / loss
        return self._quantize(self._allocate(keep, max_loss=0.0).schemes)

    def _allocate(self, keep: Mapping[str, str | Scheme] | None, **limit: Any) -> Allocation:
        pinned(self._layers, keep or {})  # an unknown name fails here, not minutes later
        report = self._report or self.analyze_sensitivity()
        options = {
            name: [option for option in offered if not self._refused(name, option.scheme)]
            for name, offered in report.options().items()
        }
        groups = attention_groups(self._layers)
        rest_bytes = model_nbytes(self._folded[0]) - sum(
            x.nbytes(FP32) for x in self._layers.values()
        )
        return allocate(options, groups=groups, keep=keep or {}, rest_bytes=rest_bytes, **limit)

    def _explicit(self, config: Config, keep: Mapping[str, str | Scheme]) -> dict[str, Scheme]:
        requested = config if isinstance(config, Mapping) else {"*": config}
        schemes = pinned(self._layers, {**requested, **keep})
        refused = {name: self._refused(name, scheme) for name, scheme in schemes.items()}
        problems = [f"{name}: {problem}" for name, problem in refused.items() if problem]
        if problems:
            raise InputError(
                f"target={self._target!r}",
                got="; ".join(problems),
                wanted='schemes that it takes: config="auto" chooses among them',
            )
        return schemes

    def _refused(self, name: str, scheme: Scheme) -> str | None:
        """Why the target does not take a layer in a scheme, if it does not."""
        layer = self._layers[name]
        if self._target is None:
            return None
        used = scheme if scheme.fits(layer.n_columns) else Scheme(scheme.bits)
        return takes(self._target, used, layer.kind, layer.n_columns, layer.layout.n_groups)

    def _quantize(self, schemes: Mapping[str, Scheme]) -> QuantizedModel:
        base, folds = self._folded
        fit = self._data.fit if self._data else None
        integers = [scheme for scheme in schemes.values() if scheme != FP32]
        with progress_bar("Rounding", len(integers), show=self._progress) as advance:
            module, notes = quantize(
                base,
                schemes,
                fit,
                layers={name: layer.of(base) for name, layer in self._layers.items()},
                objective=self.objective if self._data else None,
                progress=lambda name, *_: advance(name),
            )
        facts = QuantizationFacts(
            fp32_nbytes=model_nbytes(self._model),
            unsupported=tuple(unsupported(self._model, self._layers)),
            notes=tuple(notes),
            folds=folds,
        )
        judges = self._data or (self._synthetic if self._report else None)
        if judges:
            loss = loss_of(self.objective, self._model, module, judges.score)
            facts = replace(facts, loss=loss, objective=self.objective)
        if self._report and not self._data:
            facts = replace(facts, notes=(*facts.notes, _SYNTHETIC_NOTE))
        return QuantizedModel(module, facts)

    def _need_data(self, what: str) -> CalibrationData:
        data = self._data or self._synthetic
        if data is None:
            raise InputError(
                "calibration",
                got=f"nothing, and {what} needs data",
                wanted="Quantizer(model, calibration=batches), each batch as "
                f"forward({', '.join(inspect.signature(self._model.forward).parameters)}) takes "
                "it: none could be made from the model",
            )
        return data

    @cached_property
    def _synthetic(self) -> CalibrationData | None:
        return synthetic(self._model)


def _evaluating(model: nn.Module) -> nn.Module:
    """A twin in evaluation mode that shares the model's tensors."""
    if not isinstance(model, nn.Module):
        raise InputError("model", got=f"a {type(model).__name__}", wanted="a torch.nn.Module")
    attributes = [value for module in model.modules() for value in vars(module).values()]
    tensors = [
        x for x in (*model.parameters(), *model.buffers(), *attributes) if isinstance(x, Tensor)
    ]
    shared: dict[int, Any] = {
        id(x): x for x in tensors if x.dtype == torch.float32 or not x.is_floating_point()
    }
    return plain(copy.deepcopy(model, memo=shared).eval())
