"""Find the bundle that made a space's embeddings, without its weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import product

from encoder.errors import ModelError
from encoder.models.sources.bundle.declaration import DEFAULT, bundle_names, read_bundle
from encoder.models.sources.bundle.model import space_of
from encoder.models.sparsity import Wish

_PRECISIONS = {None: "float32", "int8": "int8"}


def bundle_of(spaces: Collection[str], quantization: str | None, enable_dsre: Wish) -> str | None:
    """The bundle that, with these settings, makes embeddings of one of these spaces.

    Args:
        spaces: fingerprints.
        quantization: see `encoder.models.open.load_model`.
        enable_dsre: likewise.

    Returns:
        Its name as a model, the default bundle's if several match; None if there is none.
    """
    for name in _names():
        with suppress(ModelError):  # a quantized tower belongs to one bundle
            if _fingerprint(name, quantization, enable_dsre) in spaces:
                return f"bundle:{name}"
    return None


def describe(fingerprint: str) -> str:
    """Describe a space for people: its fingerprint, and the bundle and settings that make it.

    >>> describe("501ec820819859f8")
    '501ec820819859f8 (bundle:english, float32)'
    """
    for name, precision, enable_dsre in product(_names(), _PRECISIONS, (False, True)):
        with suppress(ModelError):  # a bundle may have no gate
            if _fingerprint(name, precision, enable_dsre) == fingerprint:
                gate = ", enable_dsre" if enable_dsre else ""
                return f"{fingerprint} (bundle:{name}, {_PRECISIONS[precision]}{gate})"
    return fingerprint


def _names() -> Iterator[str]:
    """The default one first."""
    yield DEFAULT
    yield from (name for name in bundle_names() if name != DEFAULT)


def _fingerprint(name: str, quantization: str | None, enable_dsre: Wish) -> str:
    return space_of(read_bundle(name), quantization, enable_dsre).fingerprint
