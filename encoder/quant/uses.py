"""How a forward uses its weights: which of them it multiplies by, convolves with or looks up.

Functions are watched, not modules: whatever class a weight belongs to, and whether it is used
whole, sliced, transposed or as part of a larger expression, it ends as an operand of a product.
Importing this imports torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

from encoder.onnx.codes import Layout
from encoder.quant.calibration import tensors_in


class Product(NamedTuple):
    """One operand of a product that may be a weight.

    Args:
        weight: the operand.
        kind: see `Layout`.
        columns: the axes that are summed over.
        n_groups: into which a convolution splits its channels.
        inputs: what it is multiplied by, along the last axis (of a convolution: the channels);
            empty where the weight's rows are not all multiplied by the same.
        options: a convolution's stride, padding and dilation; ``bias``, where one is added.
    """

    weight: Tensor
    kind: str
    columns: tuple[int, ...]
    n_groups: int = 1
    inputs: tuple[Tensor, ...] = ()
    options: Mapping[str, Any] = {}


_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = (*_CONV[:5], "output_padding", "groups", "dilation")
_SIGNATURES: dict[str, Sequence[str]] = {
    "linear": ("input", "weight", "bias"),
    "bilinear": ("input1", "input2", "weight", "bias"),
    "embedding": ("input", "weight"),
    "embedding_bag": ("input", "weight"),
    "multi_head_attention_forward": tuple(
        inspect.signature(functional.multi_head_attention_forward).parameters
    ),
    **{f"conv{n}d": _CONV for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _TRANSPOSED for n in (1, 2, 3)},
}
_MATRIX_PRODUCTS = {
    "matmul", "__matmul__", "mm", "bmm", "addmm", "baddbmm", "grouped_mm", "_grouped_mm",
    "grouped_mm_fallback",  # of transformers
}  # fmt: skip
_RECURRENT = {
    "lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell",
    "rnn_relu_cell",
}  # fmt: skip


def products(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Product]:
    """The operands of a call of one of torch's functions that may be weights."""
    name = getattr(func, "__name__", "").partition(".")[0]
    if name in _SIGNATURES:
        options = {**dict(zip(_SIGNATURES[name], args, strict=False)), **kwargs}
        return list(_with_options(name, options))
    if name in _MATRIX_PRODUCTS:
        operands = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        pair = operands[:2] if "grouped" in name else operands[-2:]
        added = {"bias": operands[0]} if name == "addmm" else {}
        return _of_matrices(pair[0], pair[1], added) if len(pair) == 2 else []
    if name in _RECURRENT:
        layer_inputs = _recurrent_inputs(name, args)
        weights = [x for x in tensors_in((args, kwargs)) if x.ndim == 2]
        return [Product(x, "recurrent", (1,), inputs=layer_inputs.get(id(x), ())) for x in weights]
    if name == "einsum":
        equation, *arrays = args
        operands = list(tensors_in(arrays))
        return list(_of_einsum(equation, operands)) if isinstance(equation, str) else []
    return []


@torch.no_grad()
def _recurrent_inputs(name: str, args: Sequence[Any]) -> dict[int, tuple[Tensor, ...]]:
    """What the weights of a recurrence are applied to, by its id; empty unless it goes one way.

    It is run once more, layer by layer. A packed sequence or both ways: nothing.
    """
    if name.endswith("cell") or len(args) != 9 or args[7] or not isinstance(args[0], Tensor):
        return {}
    x, states, weights, has_biases, n_layers, _, _, _, batch_first = args
    if not isinstance(weights, (list, tuple)):
        return {}
    axis, per_layer, layer_inputs = int(batch_first), len(weights) // n_layers, dict[int, Any]()
    for layer in range(n_layers):
        layer_weights = weights[layer * per_layer : (layer + 1) * per_layer]
        first = tuple(s[layer : layer + 1] for s in (states if name == "lstm" else [states]))
        start = first if name == "lstm" else first[0]
        run = getattr(torch, name)
        y = run(x, start, layer_weights, has_biases, 1, 0.0, False, False, batch_first)[0]
        initial = first[0].transpose(0, axis)
        layer_inputs[id(layer_weights[0])] = (x,)
        layer_inputs[id(layer_weights[1])] = (
            torch.cat([initial, y.narrow(axis, 0, y.shape[axis] - 1)], axis),
        )
        x = y
    return layer_inputs


def _with_options(name: str, options: Mapping[str, Any]) -> Iterator[Product]:
    if name == "multi_head_attention_forward":
        inputs = {id(options[each]): options[each] for each in ("query", "key", "value")}
        for each, weight in options.items():
            if each.endswith("_weight") and isinstance(weight, Tensor):
                whole = tuple(inputs.values()) if each == "in_proj_weight" else ()
                added = {"bias": options["in_proj_bias"]}
                yield Product(weight, "linear", (1,), inputs=whole, options=added)
        return
    weight = options["weight"]
    input_axes, n_groups = tuple(range(1, weight.ndim)), int(options.get("groups", 1))
    if name.startswith("conv_"):
        yield Product(weight, "transposed", (0, *input_axes[1:]), n_groups)
    elif name.startswith("conv"):
        yield Product(weight, "conv", input_axes, n_groups, (options["input"],), options)
    elif name == "linear":
        yield Product(weight, "linear", input_axes, inputs=(options["input"],), options=options)
    else:
        yield Product(weight, "bilinear" if name == "bilinear" else "embedding", input_axes)


def _of_matrices(first: Tensor, second: Tensor, options: Mapping[str, Any]) -> list[Product]:
    if min(first.ndim, second.ndim) == 0:
        return []
    right = (first,) if second.ndim == 2 else ()
    left = (second.transpose(-1, -2),) if first.ndim == 2 and second.ndim > 1 else ()
    return [
        Product(second, "linear", (max(second.ndim - 2, 0),), inputs=right, options=options),
        Product(first, "linear", (first.ndim - 1,), inputs=left),
    ]


def _of_einsum(equation: str, operands: Sequence[Tensor]) -> Iterator[Product]:
    terms, _, output = equation.replace(" ", "").partition("->")
    for term, weight in zip(terms.split(","), operands, strict=False):
        columns = tuple(i for i, label in enumerate(term) if label not in output)
        if "." in term or not columns or not output:
            continue
        yield Product(weight, "linear", columns)


def storage_of(tensor: Tensor) -> int:
    """The address of a tensor's storage; 0 without one, as inside of a `vmap`."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0


_READERS = {"__get__", "dim", "size", "numel", "is_floating_point", "is_complex", "data_ptr"}
"""Functions that read a tensor's shape or kind, not its values."""


OnCall = Callable[[Any, Sequence[Any], Mapping[str, Any], Any], None]
"""Takes a function, its arguments and what it gave."""


class Calls(TorchFunctionMode):
    """While entered, calls ``on_call`` after each of torch's functions."""

    def __init__(self, on_call: OnCall) -> None:
        super().__init__()
        self._on_call = on_call

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self._on_call(func, args, kwargs or {}, result)
        return result


class Uses(Calls):
    """While entered, notes how the parameters of a model are used."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__(self._see)
        self.layouts: dict[str, Layout] = {}
        """By parameter, of those that are operands of a product."""
        self.seen: set[str] = set()
        """All that any function took."""
        self.only_looked_up: set[str] = set()
        self._shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        self._bases: dict[int, list[tuple[Tensor, tuple[str, ...]]]] = {}
        for name, parameter in parameters.items():
            self._add(parameter, (name,))

    def _see(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        for product in products(func, args, kwargs):
            self._note(product)
        if getattr(func, "__name__", "") not in _READERS:
            self._follow(func, args, kwargs, result)

    def _note(self, product: Product) -> None:
        """Note a product with a weight, or with a part or an expression of weights."""
        base, names = self._base_of(product.weight)
        if base is None:
            return
        columns = _axes_in(base, product.weight, product.columns)
        for name in names:
            shape = self._shapes[name]
            rows = tuple(i for i in range(len(shape)) if i not in columns)
            if product.kind == "transposed":
                rows = (1,)
            if not rows or len(rows) == len(shape):
                continue
            if name not in self.layouts:
                self.layouts[name] = Layout(shape, rows, product.n_groups, product.kind)
                self.only_looked_up |= {name} if product.kind == "embedding" else set()
            elif product.kind != "embedding":
                self.only_looked_up.discard(name)

    def _follow(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        """Remember what was computed from nothing but parameters."""
        operands = list(tensors_in((args, kwargs)))
        sources = [self._base_of(x) for x in operands]
        known_names = [names for base, names in sources if base is not None]
        self.seen.update(name for names in known_names for name in names)
        if not known_names or not isinstance(result, Tensor) or not result.is_floating_point():
            return
        if self._base_of(result)[0] is not None:
            return  # a view
        names = tuple(dict.fromkeys(name for each in known_names for name in each))
        if len(known_names) == len(operands):
            alike = tuple(name for name in names if self._shapes[name] == result.shape)
            self._add(result, alike)
        elif sources[0][1] and _is_choice(func, operands[0], result):
            self._add(result, sources[0][1])

    def _add(self, tensor: Tensor, names: tuple[str, ...]) -> None:
        if storage := storage_of(tensor):
            self._bases.setdefault(storage, []).append((tensor, names))

    def _base_of(self, tensor: Tensor) -> tuple[Tensor | None, tuple[str, ...]]:
        """The parameter, or what was computed from parameters, that a tensor is a view of."""
        if not (storage := storage_of(tensor)):
            return None, ()
        for base, names in self._bases.get(storage, ()):
            start = tensor.storage_offset() - base.storage_offset()
            if 0 <= start < max(1, base.numel()):
                return base, names
        return None, ()


def _is_choice(func: Any, table: Tensor, result: Tensor) -> bool:
    """Whether a function chose some along the first axis, as one that picks experts does."""
    name = getattr(func, "__name__", "")
    return name in ("__getitem__", "index_select") and result.shape[1:] == table.shape[1:]


def _axes_in(base: Tensor, view: Tensor, axes: Sequence[int]) -> set[int]:
    """The axes of a tensor that some axes of its view run along, told by their strides."""
    if view.shape == base.shape and view.stride() == base.stride():
        return set(axes)
    spans = [(view.stride(axis), view.stride(axis) * view.shape[axis]) for axis in axes]
    return {
        axis
        for axis in range(base.ndim)
        if any(least <= base.stride(axis) < end for least, end in spans)
    }


def product_calls(on_product: Callable[[Product], None]) -> Calls:
    """While entered, calls ``on_product`` after each product."""

    def on_call(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], _result: Any) -> None:
        for product in products(func, args, kwargs):
            on_product(product)

    return Calls(on_call)


def lookups(on_lookup: Callable[[Tensor, Tensor, Tensor], None]) -> Calls:
    """While entered, calls ``on_lookup`` with a table, the ids and the rows of each look-up."""

    def on_call(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        if getattr(func, "__name__", "") in ("embedding", "embedding_bag"):
            options = {**dict(zip(("input", "weight"), args, strict=False)), **kwargs}
            rows = result[0] if isinstance(result, tuple) else result
            on_lookup(options["weight"], options["input"], rows)

    return Calls(on_call)


def plain(model: nn.Module) -> nn.Module:
    """Make a model's weights plain float32 parameters, in place: those that parametrizations or
    hooks compute (spectral and weight norm) get the values that they have in evaluation.
    """
    for module in model.modules():
        if parametrize.is_parametrized(module):
            computed = {name: getattr(module, name) for name in module.parametrizations}  # type: ignore[union-attr]
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
            for name, value in computed.items():
                module.register_parameter(name, nn.Parameter(value.detach().clone(), False))
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
    return model.float()
