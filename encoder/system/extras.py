"""Packages that are not installed with anymodal: which extra brings each."""

from __future__ import annotations

from importlib.util import find_spec

from encoder.errors import MissingExtraError

_EXTRAS = {
    "adlfs": "azure",
    "gcsfs": "gcs",
    "mcp": "mcp",
    "matplotlib": "plot",
    "onnxscript": "torch",
    "openvino": "openvino",
    "paramiko": "sftp",
    "pyarrow": "parquet",
    "s3fs": "s3",
    "sentence_transformers": "torch",
    "torch": "torch",
    "transformers": "hub",
    "webdav4": "webdav",
}
"""The extra of each module that `require` is asked for."""


def is_installed(module: str) -> bool:
    """Whether a module could be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is missing, or something forbids it
        return False


def require(what: str, *modules: str) -> None:
    """Raise a `MissingExtraError` unless all modules are there; ``what`` needs them."""
    missing = [module for module in modules if not is_installed(module)]
    if missing:
        extras = ",".join(sorted({_EXTRAS[module] for module in missing}))
        raise MissingExtraError(what, missing, f"pip install 'anymodal[{extras}]'")
