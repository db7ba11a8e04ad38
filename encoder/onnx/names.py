"""Names of layers, taken from their torch modules as far as the exporter kept them. Pure."""

from __future__ import annotations

from ast import literal_eval
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import NodeProto

_SCOPES = "pkg.torch.onnx.name_scopes"


def layer_name(node: NodeProto, stored: str) -> str:
    """The path of the layer that a node computes.

    Args:
        node: a product or a look-up.
        stored: the name of its weight.

    >>> from onnx import helper
    >>> node = helper.make_node("MatMul", ["x", "w"], ["y"], "/layers.0/query/MatMul")
    >>> layer_name(node, "onnx::MatMul_7"), layer_name(node, "layers.0.query.weight")
    ('layers.0.query', 'layers.0.query')
    """
    if stored.endswith(".weight"):
        return stored.removesuffix(".weight")
    scopes = [str(p.value) for p in node.metadata_props if p.key == _SCOPES]
    if scopes and (path := _innermost(scopes[0])):
        return path
    own = str(node.name).strip("/")
    if "/" in own:  # as TorchScript names nodes
        return own.rsplit("/", 1)[0].replace("/", ".")
    return own or str(node.output[0])


def _innermost(scopes: str) -> str:
    """The innermost module of a Python-style list: modules from outside in, then the operator."""
    try:
        modules = [str(scope) for scope in literal_eval(scopes)]
    except (ValueError, SyntaxError):
        return ""
    return modules[-2] if len(modules) > 1 else ""
