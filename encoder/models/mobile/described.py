"""What an application must know about a folder's towers, for its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encoder.models.mobile.graphs import OUTPUT, PICTURE
from encoder.models.sources.bundle.declaration import Bundle
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, TEXT

FORMAT = 1
TOKENIZER = "tokenizer.json"
NETWORKS = {TEXT: "text.onnx", IMAGE: "image.onnx"}

_E5 = "e5"


def manifest(
    bundle: Bundle, precision: str, space: str, cosines: Mapping[str, float]
) -> dict[str, Any]:
    """Everything in the manifest except the files' hashes.

    Args:
        bundle: the one that was exported.
        precision: ``int8`` or ``float32``.
        space: the server's fingerprint in this precision.
        cosines: the least with the server, by file.
    """
    towers = {TEXT: _text(bundle), IMAGE: _picture(bundle)}
    for name, about in towers.items():
        about["least_cosine"] = round(cosines[NETWORKS[name]], 6)
    return {
        "format": FORMAT,
        "model": bundle.spec,
        "precision": precision,
        "space": space,
        "embed_dim": bundle.embed_dim,
        "towers": towers,
        "left_out": {AUDIO: "A sound's row needs recognized speech too, which is no ONNX file."},
    }


def _text(bundle: Bundle) -> dict[str, Any]:
    return {
        "network": NETWORKS[TEXT],
        "inputs": {
            "input_ids": {"dtype": "int64", "shape": ["n", "length"]},
            "mask": {"dtype": "float32", "shape": ["n", "length"], "values": "1 for tokens"},
        },
        "output": _output(["n", bundle.embed_dim]),
        "tokenizer": TOKENIZER,
        "max_tokens": bundle.window_tokens,
        "prompts": _prompts(bundle),
    }


def _prompts(bundle: Bundle) -> dict[str, str]:
    """The prompt before each text, by what it is for."""
    if bundle.parts[TEXT].kind != _E5:
        return {DOCUMENT: "", QUERY: ""}
    from encoder.models.sources.bundle.kinds.e5 import prompt_of

    return {role: prompt_of(role) for role in (DOCUMENT, QUERY)}


def _picture(bundle: Bundle) -> dict[str, Any]:
    n_rows = 2 if "head" in bundle.parts[IMAGE].tables else 1
    return {
        "network": NETWORKS[IMAGE],
        "inputs": {
            PICTURE: {"dtype": "uint8", "shape": ["height", "width", 3], "values": "RGB, upright"}
        },
        "output": _output([n_rows, bundle.embed_dim]),
        "preprocessing": "in the network: the middle square, scaled to 260 pixels",
        "rows": f"{n_rows}; of several, the best score counts",
    }


def _output(shape: list[str | int]) -> dict[str, Any]:
    return {"name": OUTPUT, "dtype": "float32", "shape": shape, "unit": "length 1"}
