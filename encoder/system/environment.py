"""The variables of this process: options of its command go before the environment.

Nothing else reads the environment, and no setting is written to it. A process reads its settings
once, where it begins (`workers.config`); what it starts gets them as arguments or in an environment
of its own (`encoder.system.children`), which holds the options too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
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


READ_BY_NAME = frozenset(
    f"ANYMODAL_{name}"
    for name in "CACHE DATA DEBUG ENCODER__MODEL HEALTH_URL HOME KEY SECRETS STORE".split()
)
"""The variables that are read without `workers.config`, which takes half a second to import."""

_options: Mapping[str, str] = {}


def begin(options: Mapping[str, str]) -> None:
    """Begin a process, or a command in one: these variables go before the environment's."""
    global _options
    _options = options


def options() -> Mapping[str, str]:
    """What `begin` was given last."""
    return _options


def variable(name: str) -> str | None:
    """The value of a variable; None where it is unset or empty."""
    return variables().get(name) or None


def variables() -> dict[str, str]:
    """A copy of all of them."""
    return {**os.environ, **_options}


def settings(names: Iterable[str]) -> dict[str, str]:
    """The texts of those settings that are set.

    What no option or variable names is read from the file ``anymodal_<field>`` in
    ``ANYMODAL_SECRETS`` (``/run/secrets``, where containers find them), so that a password need not
    stand in the environment.
    """
    texts = variables()
    secrets = Path(texts.get("ANYMODAL_SECRETS") or "/run/secrets")
    for name in names:
        if name not in texts and (file := secrets / name.lower()).is_file():
            texts[name] = file.read_text().strip()
    return {name: texts[name] for name in names if name in texts}


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
