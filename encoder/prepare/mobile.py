"""A folder of towers for phones: networks, tokenizer, and a manifest, checked as they are written.

manifest.json     what each network takes and gives, its preprocessing, each file's sha256
text.onnx         token ids and a mask to unit rows, with tokenizer.json next to it
image.onnx        the bytes of a picture to unit rows
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.models.artifacts import FLOAT32, MANIFEST, describe_files
from encoder.models.bundle.declaration import Bundle, location, read_bundle
from encoder.models.bundle.kinds import e5_prompt, image_labels
from encoder.models.bundle.model import load, network
from encoder.models.precision import NetworkFiles
from encoder.models.spec import ModelSpec
from encoder.prepare import mobile_graphs
from encoder.prepare.mobile_graphs import OUTPUT, PICTURE
from encoder.runtime.onnx import OnnxSession
from encoder.system.disk import writing
from encoder.towers.image import ConseSettings, ImageHead, load_image_head
from encoder.towers.model import Model
from encoder.towers.text import MAX_TOKENS, inputs_of
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, TEXT

LEAST_COSINE = 0.999
"""Between the outputs of a written network and those of the server."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        folder: holds it.
        cosines: the least cosine with the server, by file.
        size_bytes: of all files.
    """

    folder: Path
    cosines: Mapping[str, float]
    size_bytes: int


def export_mobile(model: str, folder: Path, *, quantization: str | None = "int8") -> Exported:
    """Write the towers of texts and pictures of a bundle; the folder appears whole or not at all.

    Args:
        model: ``bundle:english`` or ``bundle:multilingual``.
        folder: must not exist.
        quantization: ``int8``, or None for float32.

    Raises:
        ModelError: the model is no bundle, the folder exists, or a network's rows differ from the
            server's: a cosine below `LEAST_COSINE`.
        BundleError: the bundle is not there.
        DiskError: the disk is full or may not be written to.
    """
    spec = ModelSpec.parse(model)
    if spec.kind != "bundle":
        raise ModelError(
            f"{spec} is not a bundle; only bundles can be exported for phones.",
            remedy="Use a bundle; the networks of a prepared model are ONNX files already.",
        )
    if folder.exists():
        raise ModelError(f"{folder} exists.", remedy="Choose a folder that does not exist yet.")
    bundle = read_bundle(spec.name)
    with writing(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            new = Path(scratch, "new")
            new.mkdir()
            cosines = _write(bundle, new, quantization)
            size_bytes = sum(path.stat().st_size for path in new.iterdir())
            new.rename(folder)
    return Exported(folder, cosines, size_bytes)


def _write(bundle: Bundle, folder: Path, quantization: str | None) -> dict[str, float]:
    home = location(bundle)
    _write_text(bundle, home, folder, quantization)
    _write_picture(bundle, home, folder, quantization)
    model = load(bundle, quantization=quantization, n_threads=1)
    cosines = of_networks(model, folder)
    if wrong := [f"{name} {cosine:.5f}" for name, cosine in cosines.items() if not _ok(cosine)]:
        raise ModelError(
            f"The networks differ from the server's: cosine of {', '.join(wrong)}.",
            remedy="Check the bundle with `anymodal bundle verify`.",
        )
    facts = manifest(bundle, quantization or FLOAT32, model.space.fingerprint, cosines)
    text = json.dumps({**facts, "files": describe_files(folder)}, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text, "utf-8")
    return cosines


def _source(network: NetworkFiles, quantization: str | None) -> Path:
    return network.int8 if quantization and network.int8 else network.float32


def _write_text(bundle: Bundle, home: Path, folder: Path, quantization: str | None) -> None:
    source = _source(network(bundle, home, TEXT), quantization)
    mobile_graphs.write_text(source, folder / NETWORKS[TEXT], bundle.embed_dim)
    shutil.copyfile(home / TEXT / TOKENIZER, folder / TOKENIZER)


def _write_picture(bundle: Bundle, home: Path, folder: Path, quantization: str | None) -> None:
    source = _source(network(bundle, home, IMAGE), quantization)
    mobile_graphs.write_picture(source, folder / NETWORKS[IMAGE], _head(bundle), ConseSettings())


def _head(bundle: Bundle) -> ImageHead | NDArray[np.float16]:
    tables = bundle.parts[IMAGE].tables
    return load_image_head(tables["head"]) if "head" in tables else image_labels(tables["labels"])


def _ok(cosine: float) -> bool:
    return cosine >= LEAST_COSINE


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
    for name, facts in towers.items():
        facts["least_cosine"] = round(cosines[NETWORKS[name]], 6)
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

    return {role: e5_prompt(role) for role in (DOCUMENT, QUERY)}


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


Rows = NDArray[np.float32]
"""Unit rows."""

_TEXTS = (
    "a dog",
    "A red bicycle leans against the wall of an old mill.",
    "Rain fell on the harbour all night, and the boats stayed in. " * 6,
)
_SIZES = ((240, 320), (260, 200), (260, 260))
"""Pillow scales rows before columns in all of them; see `encoder.prepare.mobile_graphs`."""


def of_networks(model: Model, folder: Path) -> dict[str, float]:
    """The least cosine of each ONNX file's rows with the server's.

    Args:
        model: of the server, in the precision of the files.
        folder: with the files.
    """
    text, image = (
        OnnxSession(folder / NETWORKS[modality], n_threads=1) for modality in (TEXT, IMAGE)
    )
    return {
        NETWORKS[TEXT]: _texts(model, lambda tokens: text.run(inputs_of([tokens]))[0]),
        NETWORKS[IMAGE]: _pictures(model, lambda rgb: image.run({PICTURE: rgb})[0]),
    }


def _texts(model: Model, run: Callable[[NDArray[np.int64]], Rows]) -> float:
    tower = model.towers[TEXT]
    tokens = [np.asarray(tower.prepare(text), np.int64)[:MAX_TOKENS] for text in _TEXTS]
    return min(_cosine(tower.forward([ids]).rows, run(ids)) for ids in tokens)


def _pictures(model: Model, run: Callable[[NDArray[np.uint8]], Rows]) -> float:
    tower = model.towers[IMAGE]
    pictures = [_waves(*sides) for sides in _SIZES]
    return min(
        _cosine(tower.forward([tower.prepare(picture)]).rows, run(picture)) for picture in pictures
    )


def _cosine(expected: Rows, rows: Rows) -> float:
    """The least cosine of rows that should be alike."""
    return float((expected * rows).sum(axis=1).min())


def _waves(height: int, width: int) -> NDArray[np.uint8]:
    """A smooth picture, uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(x / 37 + y / 51), np.cos(y / 43), np.sin(x / 29) * np.cos(y / 61)]
    return np.asarray(127 + 100 * np.stack(planes, axis=2), np.uint8)
