"""A folder of towers for phones: networks, tokenizer, and a manifest, checked as they are written.

manifest.json     what each network takes and gives, its preprocessing, each file's sha256
text.onnx         token ids and a mask to unit rows, with tokenizer.json beside it
image.onnx        the bytes of a picture to unit rows
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.models.artifacts.artifact import MANIFEST, describe_files
from encoder.models.base import Model
from encoder.models.mobile import graphs
from encoder.models.open import load_model
from encoder.models.precision import Network
from encoder.models.sources.bundle.choices import network
from encoder.models.sources.bundle.declaration import Bundle, read_bundle
from encoder.models.sources.bundle.folder import location
from encoder.models.sources.bundle.kinds.conse import image_labels
from encoder.models.spec import ModelSpec
from encoder.runtime.onnx import OnnxSession
from encoder.system.disk import writing
from encoder.towers.picture.head import load_image_head
from encoder.towers.picture.tower import ConseSettings
from encoder.towers.text.tower import MAX_TOKENS, inputs_of
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, TEXT

LEAST_COSINE = 0.999
"""Between what a written network gives and what the server gives."""

_FORMAT = 1
_TOKENIZER = "tokenizer.json"
_E5 = "e5"
_TEXTS = (
    "a dog",
    "A red bicycle leans against the wall of an old mill.",
    "Rain fell on the harbour all night, and the boats stayed in. " * 6,
)
_SIZES = ((240, 320), (300, 200), (260, 260))


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        folder: holds it.
        cosines: the least cosine with the server, by tower.
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
        ModelError: the model is no bundle, the folder exists, or a network gives other rows than
            the server: below `LEAST_COSINE`.
        BundleError: the bundle is not there.
        DiskError: the disk is full or may not be written to.
    """
    spec = ModelSpec.parse(model)
    if spec.kind != "bundle":
        raise ModelError(
            f"{spec} is no bundle, and only bundles are written for phones.",
            remedy="Name a bundle; the networks of a prepared model are ONNX files already.",
        )
    if folder.exists():
        raise ModelError(f"{folder} exists.", remedy="Name a folder that does not exist.")
    bundle = read_bundle(spec.name)
    with writing(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            made = Path(scratch, "new")
            made.mkdir()
            cosines = _write(bundle, made, quantization)
            size_bytes = sum(path.stat().st_size for path in made.iterdir())
            made.rename(folder)
    return Exported(folder, cosines, size_bytes)


def _write(bundle: Bundle, folder: Path, quantization: str | None) -> dict[str, float]:
    home = location(bundle)
    _write_text(bundle, home, folder, quantization)
    _write_picture(bundle, home, folder, quantization)
    model = load_model(bundle.spec, quantization=quantization, n_threads=1)
    cosines: dict[str, float] = {
        TEXT: _check(_texts(model, folder)),
        IMAGE: _check(_pictures(model, folder)),
    }
    if wrong := [f"{name} {cosine:.5f}" for name, cosine in cosines.items() if not _ok(cosine)]:
        raise ModelError(
            f"The networks differ from the server's: cosine of {', '.join(wrong)}.",
            remedy="Check the bundle with `anymodal bundle verify`.",
        )
    towers = {TEXT: _about_text(bundle), IMAGE: _about_picture(bundle)}
    manifest = {
        "format": _FORMAT,
        "model": bundle.spec,
        "precision": quantization or "float32",
        "space": model.space.fingerprint,
        "embed_dim": bundle.embed_dim,
        "towers": {
            name: {**about, "least_cosine": round(cosines[name], 6)}
            for name, about in towers.items()
        },
        "left_out": {AUDIO: "A sound's row needs recognized speech too, which is no ONNX file."},
        "files": describe_files(folder),
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text, "utf-8")
    return cosines


def _source(found: Network, quantization: str | None) -> Path:
    return found.int8 if quantization and found.int8 else found.float32


def _write_text(bundle: Bundle, home: Path, folder: Path, quantization: str | None) -> None:
    source = _source(network(bundle, home, TEXT), quantization)
    graphs.write_text(source, folder / "text.onnx", bundle.embed_dim)
    shutil.copyfile(home / TEXT / _TOKENIZER, folder / _TOKENIZER)


def _write_picture(bundle: Bundle, home: Path, folder: Path, quantization: str | None) -> None:
    source = _source(network(bundle, home, IMAGE), quantization)
    tables = bundle.parts[IMAGE].tables
    head = load_image_head(tables["head"]) if "head" in tables else image_labels(tables["labels"])
    graphs.write_picture(source, folder / "image.onnx", head, ConseSettings())


def _about_text(bundle: Bundle) -> dict[str, Any]:
    return {
        "network": "text.onnx",
        "inputs": {
            "input_ids": {"dtype": "int64", "shape": ["n", "length"]},
            "mask": {"dtype": "float32", "shape": ["n", "length"], "values": "1 for tokens"},
        },
        "output": _output(["n", bundle.embed_dim]),
        "tokenizer": _TOKENIZER,
        "max_tokens": bundle.window_tokens,
        "prompts": _prompts(bundle),
    }


def _prompts(bundle: Bundle) -> dict[str, str]:
    """What stands before each text, by what it is for."""
    if bundle.parts[TEXT].kind != _E5:
        return {DOCUMENT: "", QUERY: ""}
    from encoder.models.sources.bundle.kinds.e5 import prompt_of

    return {role: prompt_of(role) for role in (DOCUMENT, QUERY)}


def _about_picture(bundle: Bundle) -> dict[str, Any]:
    n_rows = 2 if "head" in bundle.parts[IMAGE].tables else 1
    return {
        "network": "image.onnx",
        "inputs": {
            graphs.PICTURE: {
                "dtype": "uint8",
                "shape": ["height", "width", 3],
                "values": "RGB, upright",
            }
        },
        "output": _output([n_rows, bundle.embed_dim]),
        "preprocessing": "in the network: the middle square, scaled to 260 pixels",
        "rows": f"{n_rows}; of several, the best score counts",
    }


def _output(shape: list[str | int]) -> dict[str, Any]:
    return {"name": graphs.OUTPUT, "dtype": "float32", "shape": shape, "unit": "length 1"}


_Rows = NDArray[np.float32]


def _check(pairs: Iterator[tuple[_Rows, _Rows]]) -> float:
    """The least cosine of rows that should be alike."""
    return min(float((wanted * found).sum(axis=1).min()) for wanted, found in pairs)


def _ok(cosine: float) -> bool:
    return cosine >= LEAST_COSINE


def _texts(model: Model, folder: Path) -> Iterator[tuple[_Rows, _Rows]]:
    session, tower = OnnxSession(folder / "text.onnx", n_threads=1), model.towers[TEXT]
    for text in _TEXTS:
        tokens = tower.prepare(text)[:MAX_TOKENS]
        yield tower.forward([tokens]).rows, session.run(inputs_of([tokens]))[0]


def _pictures(model: Model, folder: Path) -> Iterator[tuple[_Rows, _Rows]]:
    session, tower = OnnxSession(folder / "image.onnx", n_threads=1), model.towers[IMAGE]
    for height, width in _SIZES:
        picture = _waves(height, width)
        wanted = tower.forward([tower.prepare(picture)]).rows
        yield wanted, session.run({graphs.PICTURE: picture})[0]


def _waves(height: int, width: int) -> NDArray[np.uint8]:
    """A smooth picture, uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(x / 37 + y / 51), np.cos(y / 43), np.sin(x / 29) * np.cos(y / 61)]
    return np.asarray(127 + 100 * np.stack(planes, axis=2), np.uint8)
