"""Settings of a process, from the environment."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from workers.environment import secrets_folder, set_options


class Settings(BaseSettings):
    """Where things are; each field is also ``ANYMODAL_<FIELD>``.

    The command line writes its options into the environment (`Settings.set`), so that a worker's
    children see the same values. What the environment leaves open is read from the file
    ``anymodal_<field>`` in ``ANYMODAL_SECRETS`` (``/run/secrets``, where containers find them), so
    that a password need not stand in the environment.
    """

    model_config = SettingsConfigDict(env_prefix="ANYMODAL_", frozen=True, extra="ignore")

    store_login: str | None = Field(default=None, pattern=r"^[^\s:@/?#]+:[^\s@/?#]+$", repr=False)
    """``user:password`` for a Milvus server whose URL names none."""

    store: str | None = None
    """None for the embedded store, a path, ``http://host:19530`` or ``memory:``; a URL holds the
    login once it is read."""

    broker: str = "memory://"
    """``memory://`` runs the tasks in this process; ``redis://host:6379/0`` shares them."""

    shard_files: int = Field(default=96, ge=1)
    """How many texts or pictures one task takes, and how many times fewer sounds and films
    (`workers.jobs.queues`): a second of work or so, beside which writing to the store is little."""

    batch_segments: int = Field(default=64, ge=1)
    """How many segments are encoded at once."""

    decode_threads: int = Field(default=2, ge=1)
    """How many files one task decodes side by side."""

    transcripts: bool = True
    """Whether what is said in sounds and films is stored as text, with its time."""

    read_pictures: bool = True
    """Whether what can be read in pictures and films is stored as text, where the model reads."""

    calibrate: bool = True
    """Whether a store of a model that ships no constants is calibrated by itself, once it has 200
    segments of two kinds."""

    task_timeout_s: int = Field(default=3600, ge=10)
    """The longest that a task may run before it is ended; its files are then tried one by one."""

    queue_shards: int = Field(default=64, ge=1)
    """How many shards may wait in one queue before no more are planned."""

    lease_s: float = Field(default=8.0, ge=1)
    """How long a worker that says nothing is trusted to be alive."""

    job_ttl_s: int = Field(default=7 * 86400, ge=60)
    """How long a job and its dead letters are kept after their last change."""

    rate_limit: str | None = Field(default=None, pattern=r"^\d+(\.\d+)?/[smh]$")
    """The most shards that one worker begins, as ``10/s``, ``100/m`` or ``500/h``: for a store or
    a disk that others use too."""

    shutdown_s: float = Field(default=60.0, ge=0)
    """How long a worker that is to stop may go on with the shard under way."""

    child_growth_mb: int = Field(default=2048, ge=1)
    """How much more memory than after its start a worker's process may have used before it is
    replaced, between two tasks."""

    log_format: Literal["text", "json"] = "text"
    """How a worker or a server writes its log."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Where a worker answers Prometheus; None: nowhere."""

    metrics_host: str = "127.0.0.1"
    """The device on which it does; the figures name no file, and there is no password."""

    @field_validator("store")
    @classmethod
    def _logged_in(cls, store: str | None, info: ValidationInfo) -> str | None:
        login = info.data.get("store_login")
        parts = urlsplit(store or "")
        if not login or parts.scheme not in ("http", "https", "tcp") or "@" in parts.netloc:
            return store
        return parts._replace(netloc=f"{login}@{parts.netloc}").geturl()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (not used: no .env is read)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (replaced: see below)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, the environment, then the secret files of this moment."""
        folder = secrets_folder()
        if not folder.is_dir():
            return init_settings, env_settings
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, folder)

    @staticmethod
    def set(**options: str | None) -> None:
        """Write options into the environment; None leaves a value as it is."""
        set_options(**options)
