"""Settings of a process, from the environment."""

from __future__ import annotations

import os

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where things are; each field is also ``ANYMODAL_<FIELD>``.

    The command line writes its options into the environment (`Settings.set`), so that a worker's
    children see the same values.
    """

    model_config = SettingsConfigDict(env_prefix="ANYMODAL_", frozen=True, extra="ignore")

    store: str | None = None
    """None for the embedded store, a path, ``http://host:19530`` or ``memory:``."""

    broker: str = "memory://"
    """``memory://`` runs the tasks in this process; ``redis://host:6379/0`` shares them."""

    shard_files: int = Field(default=16, ge=1)
    """How many files one task takes."""

    batch_segments: int = Field(default=64, ge=1)
    """How many segments are encoded at once."""

    decode_threads: int = Field(default=2, ge=1)
    """How many files one task decodes side by side."""

    task_timeout_s: int = Field(default=3600, ge=10)
    """The longest that a task may run; the broker gives it to another worker after that."""

    @staticmethod
    def set(**options: str | None) -> None:
        """Write options into the environment; None leaves a value as it is."""
        for name, value in options.items():
            if value is not None:
                os.environ[f"ANYMODAL_{name.upper()}"] = value
