"""Options as the environment has them, without what reads all settings (0.2 s of imports)."""

from __future__ import annotations

import json
import os
from pathlib import Path


def set_options(**options: str | None) -> None:
    """Write options into the environment; None leaves a value as it is."""
    for name, value in options.items():
        if value is not None:
            os.environ[f"ANYMODAL_{name.upper()}"] = value


def secrets_folder() -> Path:
    """Where the settings that the environment leaves open may stand in files."""
    return Path(os.environ.get("ANYMODAL_SECRETS", "/run/secrets"))


def store_setting() -> str | None:
    """What `workers.config.Settings.store` is."""
    if "ANYMODAL_STORE" in os.environ:
        return os.environ["ANYMODAL_STORE"]
    file = secrets_folder() / "anymodal_store"
    return file.read_text().strip() if file.is_file() else None


def url_hosts_setting() -> list[str] | None:
    """The hosts that ``--allow-url`` or the environment name; None if neither does."""
    given = os.environ.get("ANYMODAL_INGEST__URL_HOSTS")
    return None if given is None else list(json.loads(given))
