"""Options of the command line. Imports little, so that a search starts fast.

`workers.config` makes a process's settings from these and the environment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from encoder.errors import InputError
from encoder.system import children
from encoder.system.environment import variable, variables

READ_BY_NAME = frozenset(
    f"ANYMODAL_{name}"
    for name in "CACHE DATA DEBUG ENCODER__MODEL HEALTH_URL HOME KEY SECRETS STORE".split()
)
"""The variables that are read without `workers.config`, which takes half a second to import."""


@dataclass(frozen=True, eq=False)
class Options:
    """Options of a command; None leaves a setting to the environment."""

    store: str | None = None
    broker: str | None = None
    model: str | None = None
    url_hosts: Sequence[str] | None = None
    log_format: str | None = None
    metrics_port: int | None = None
    metrics_host: str | None = None

    def variables(self) -> dict[str, str]:
        hosts = None if self.url_hosts is None else json.dumps(list(self.url_hosts))
        named_values = {
            "STORE": self.store,
            "BROKER": self.broker,
            "ENCODER__MODEL": self.model,
            "INGEST__URL_HOSTS": hosts,
            "LOG_FORMAT": self.log_format,
            "METRICS_PORT": self.metrics_port,
            "METRICS_HOST": self.metrics_host,
        }
        return {
            f"ANYMODAL_{name}": str(value)
            for name, value in named_values.items()
            if value is not None
        }


_options = Options()


def begin(options: Options) -> None:
    """Begin a process, or a command in one: its settings are these options over the environment.

    Processes that are forked from here have the same.
    """
    global _options
    _options = options


def options() -> Options:
    """The options of this process; empty if no command has begun."""
    return _options


def child_environment() -> dict[str, str]:
    """The environment in which a child process reads the same settings."""
    return {**children.environment(), **options().variables()}


def secrets_folder() -> Path:
    """The folder of files that hold settings which neither options nor variables name."""
    return Path(variable("ANYMODAL_SECRETS") or "/run/secrets")


def store_setting() -> str | None:
    """`workers.config.Settings.store` without the login."""
    values = {**variables(), **options().variables()}
    if "ANYMODAL_STORE" in values:
        return values["ANYMODAL_STORE"]
    file = secrets_folder() / "anymodal_store"
    return file.read_text().strip() if file.is_file() else None


def model_setting() -> str | None:
    """The model that an option or a variable names; None if neither does."""
    return options().model or variable("ANYMODAL_ENCODER__MODEL")


def url_hosts_setting() -> list[str] | None:
    """The hosts that ``--allow-url`` or a variable names; None if neither does."""
    if (hosts := options().url_hosts) is not None:
        return list(hosts)
    if (hosts_json := variable("ANYMODAL_INGEST__URL_HOSTS")) is None:
        return None
    try:
        return [str(host) for host in json.loads(hosts_json)]
    except (TypeError, ValueError):
        raise InputError(
            "ANYMODAL_INGEST__URL_HOSTS",
            got=repr(hosts_json),
            wanted='a JSON list: ["example.org"]',
        ) from None
