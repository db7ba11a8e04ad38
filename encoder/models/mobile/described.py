"""What an application must know about a folder's towers, for its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encoder.models.artifacts.prepared import FLOAT32
from encoder.models.mobile.graphs import OUTPUT, PICTURE
from encoder.models.sources.bundle.declaration import Bundle
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, TEXT

FORMAT = 1
TOKENIZER = "tokenizer.json"
NETWORKS = {TEXT: "text.onnx", IMAGE: "image.onnx"}
PROGRAMS = {TEXT: "text.pte", IMAGE: "image.pte"}
"""For ExecuTorch."""
LEAST_TOKENS = 2
"""Of a text for ExecuTorch; with its special tokens, every text has this many."""
SIDES = (16, 1280)
"""The shortest and longest side of a picture for ExecuTorch, in pixels."""

_E5 = "e5"


def manifest(
    bundle: Bundle, precision: str, spaces: Mapping[str, str], cosines: Mapping[str, float]
) -> dict[str, Any]:
    """Everything in the manifest except the files' hashes.

    Args:
        bundle: the one that was exported.
        precision: ``int8`` or ``float32``.
        spaces: fingerprints by the precision of the server.
        cosines: the least with the server, by file.
    """
    towers = {TEXT: _text(bundle), IMAGE: _picture(bundle)}
    programs = {TEXT: _text_program(bundle), IMAGE: _picture_program()}
    for name, about in towers.items():
        about["least_cosine"] = round(cosines[NETWORKS[name]], 6)
        if (file := PROGRAMS[name]) in cosines:
            about["executorch"] = {
                "network": file,
                "inputs": programs[name],
                "space": spaces[FLOAT32],
                "least_cosine": round(cosines[file], 6),
            }
    return {
        "format": FORMAT,
        "model": bundle.spec,
        "precision": precision,
        "space": spaces[precision],
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


def _text_program(bundle: Bundle) -> dict[str, Any]:
    values = f"one text of {LEAST_TOKENS} to {bundle.window_tokens} tokens"
    return {"input_ids": {"dtype": "int64", "shape": [1, "length"], "values": values}}


def _picture_program() -> dict[str, Any]:
    values = "RGB, upright; sides of {} to {} pixels".format(*SIDES)
    return {PICTURE: {"dtype": "uint8", "shape": ["height", "width", 3], "values": values}}


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
