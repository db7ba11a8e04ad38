"""A folder of towers for phones: networks, tokenizer, and a manifest, checked as they are written.

manifest.json     what each network takes and gives, its preprocessing, each file's sha256
text.onnx         token ids and a mask to unit rows, with tokenizer.json next to it
image.onnx        the bytes of a picture to unit rows
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.models.artifacts.artifact import MANIFEST, describe_files
from encoder.models.artifacts.prepared import FLOAT32
from encoder.models.mobile import check, graphs
from encoder.models.mobile.described import NETWORKS, TOKENIZER, manifest
from encoder.models.open import load_model
from encoder.models.precision import Network
from encoder.models.sources.bundle.choices import network
from encoder.models.sources.bundle.declaration import Bundle, read_bundle
from encoder.models.sources.bundle.folder import location
from encoder.models.sources.bundle.kinds.conse import image_labels
from encoder.models.spec import ModelSpec
from encoder.system.disk import writing
from encoder.towers.picture.head import ImageHead, load_image_head
from encoder.towers.picture.tower import ConseSettings
from encoder.types import IMAGE, TEXT

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
    cosines = check.of_networks(model, folder)
    if wrong := [f"{name} {cosine:.5f}" for name, cosine in cosines.items() if not _ok(cosine)]:
        raise ModelError(
            f"The networks differ from the server's: cosine of {', '.join(wrong)}.",
            remedy="Check the bundle with `anymodal bundle verify`.",
        )
    about = manifest(bundle, quantization or FLOAT32, model.space.fingerprint, cosines)
    text = json.dumps({**about, "files": describe_files(folder)}, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text, "utf-8")
    return cosines


def _source(found: Network, quantization: str | None) -> Path:
    return found.int8 if quantization and found.int8 else found.float32


def _write_text(bundle: Bundle, home: Path, folder: Path, quantization: str | None) -> None:
    source = _source(network(bundle, home, TEXT), quantization)
    graphs.write_text(source, folder / NETWORKS[TEXT], bundle.embed_dim)
    shutil.copyfile(home / TEXT / TOKENIZER, folder / TOKENIZER)


def _write_picture(bundle: Bundle, home: Path, folder: Path, quantization: str | None) -> None:
    source = _source(network(bundle, home, IMAGE), quantization)
    graphs.write_picture(source, folder / NETWORKS[IMAGE], _head(bundle), ConseSettings())


def _head(bundle: Bundle) -> ImageHead | NDArray[np.float16]:
    tables = bundle.parts[IMAGE].tables
    return load_image_head(tables["head"]) if "head" in tables else image_labels(tables["labels"])


def _ok(cosine: float) -> bool:
    return cosine >= LEAST_COSINE
