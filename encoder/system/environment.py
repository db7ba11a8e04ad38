"""The environment variables of this process. Nothing else reads them, and no setting is written.

A process reads its settings once, where it begins (`workers.config`); what it starts gets them as
arguments or in an environment of its own (`encoder.system.children`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

LIBRARIES: Mapping[str, str] = MappingProxyType(
    {
        "GRPC_VERBOSITY": "gRPC's core reads it when it is imported, and has no call for it.",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "oneDNN inside CTranslate2 reads it at its first run; "
        "CTranslate2 does not export oneDNN's call.",
        "OPENBLAS_NUM_THREADS": "OpenBLAS reads it when numpy is imported.",
        "ORT_DISABLE_TELEMETRY": "ONNX Runtime begins to report while it is imported.",
        "PROMETHEUS_MULTIPROC_DIR": "prometheus_client reads it on import and in each process.",
        "PYDANTIC_DISABLE_PLUGINS": "pydantic looks through all installed packages otherwise.",
        "PYTHONSAFEPATH": "Python reads it in processes that libraries start.",
    }
)
"""The variables of others that this process may set, each with the reason why nothing else will do.

They are read by code that takes no arguments, in this process or in one that a library starts.
"""


def variable(name: str) -> str | None:
    """The value of a variable; None where it is unset or empty."""
    return os.environ.get(name) or None


def variables() -> dict[str, str]:
    """A copy of all of them."""
    return dict(os.environ)


def data_folder() -> Path:
    """``ANYMODAL_DATA``, or ``anymodal`` in the XDG data folder."""
    if data := variable("ANYMODAL_DATA"):
        return Path(data).expanduser().absolute()
    # The XDG specification: a relative path is to be ignored.
    base = Path(variable("XDG_DATA_HOME") or "")
    return (base if base.is_absolute() else Path.home() / ".local" / "share") / "anymodal"


def set_for_library(name: str, value: str, *, override: bool = False) -> None:
    """Set a variable of `LIBRARIES`; only with ``override`` where the user has set it.

    Raises:
        KeyError: it is not one of `LIBRARIES`.
    """
    if name not in LIBRARIES:
        raise KeyError(f"{name} is not a variable of a library; pass the setting on instead.")
    if override or not os.environ.get(name):
        os.environ[name] = value
