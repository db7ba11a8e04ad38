"""Packages that are not installed with anymodal: which extra brings each."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

from encoder.errors import MissingExtraError
from encoder.system.environment import variable

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
        extras = sorted({_EXTRAS[module] for module in missing})
        raise MissingExtraError(what, missing, install_command(*extras))


def install_command(*extras: str) -> str:
    """What to type to add extras to this installation, whatever it was installed from."""
    try:
        noted = distribution("anymodal").read_text("direct_url.json")
    except PackageNotFoundError:
        noted = None
    is_active = sys.prefix in (sys.base_prefix, variable("VIRTUAL_ENV"))
    pip = "pip" if is_active else f"{shlex.quote(sys.executable)} -m pip"
    return f"{pip} install {requirement(json.loads(noted or '{}'), *extras)}"


def requirement(origin: Mapping[str, Any], *extras: str) -> str:
    """The same distribution with these extras, as pip takes it.

    Args:
        origin: what pip noted of where it came from (PEP 610); empty for an index.
        extras: their names.

    >>> requirement({}, "torch", "plot")
    "'anymodal[torch,plot]'"
    >>> clone = {"url": "file:///home/me/a%20clone", "dir_info": {"editable": True}}
    >>> requirement(clone, "torch")
    "--editable '/home/me/a clone[torch]'"
    >>> requirement({"url": "https://example.org/anymodal.whl", "archive_info": {}}, "torch")
    "'anymodal[torch] @ https://example.org/anymodal.whl'"
    """
    url, brackets = origin.get("url", ""), f"[{','.join(extras)}]"
    if "dir_info" in origin:
        flag = "--editable " if origin["dir_info"].get("editable") else ""
        return flag + shlex.quote(unquote(urlsplit(url).path) + brackets)
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}"
    return shlex.quote(f"anymodal{brackets}" + (f" @ {url}" if url else ""))
