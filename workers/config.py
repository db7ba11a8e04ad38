"""Settings of a process, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator

from encoder.config import EncoderConfig
from encoder.errors import InputError
from encoder.settings import EnvironmentSettings
from encoder.system import environment
from ingest.config import IngestConfig
from search.api.config import ApiConfig


class Settings(EnvironmentSettings):
    """All settings of a process; each field is also ``ANYMODAL_<FIELD>``.

    Frozen. A process reads it once, where it begins, with the options of the command line before
    the environment and secret files (`encoder.system.environment.settings`).
    """

    PREFIX = "ANYMODAL_"

    store_login: str | None = Field(default=None, pattern=r"^[^\s:@/?#]+:[^\s@/?#]+$", repr=False)
    """``user:password`` for a Milvus server whose URL names none."""

    store: str | None = None
    """A folder or ``http://host:19530``; ``memory:`` keeps nothing. None is the embedded store of
    the user."""

    store__index: str = Field(default="HNSW", pattern=r"^(HNSW|HNSW_SQ|IVF_RABITQ)(\+mmap)?$")
    """The index of a store that is made on a Milvus server: HNSW, HNSW_SQ or IVF_RABITQ, with
    ``+mmap`` to leave it on the disk. A store keeps what it was made with."""

    broker: str = "memory://"
    """``memory://`` runs the tasks in this process; ``redis://host:6379/0`` shares them."""

    shard_files: int = Field(default=96, ge=1)
    """How many texts or pictures one task takes, about a second of work; fewer sounds and films
    (`workers.pipeline.files`)."""

    decode_threads: int = Field(default=2, ge=1)
    """How many files one task decodes at the same time."""

    transcripts: bool = True
    """Store speech in sounds and films as text, with its time, whatever the model."""

    read_pictures: bool = True
    """Store the text in pictures and films, likewise."""

    calibrate: bool = True
    """Calibrate a store as it changes; see [Calibration](calibration.md)."""

    task_timeout_s: int = Field(default=3600, ge=10)
    """How long a task may run. After that it is killed, and its files are tried one by one."""

    queue_shards: int = Field(default=64, ge=1)
    """How many shards may wait in one queue; a planner stops there."""

    lease_s: float = Field(default=8.0, ge=1)
    """How long a silent worker counts as alive."""

    rate_limit: str | None = Field(default=None, pattern=r"^\d+(\.\d+)?/[smh]$")
    """How many shards a worker may begin, as ``10/s``, ``100/m`` or ``500/h``; for a store or a
    disk that others use too."""

    shutdown_s: float = Field(default=60.0, ge=0)
    """How long a stopping worker may go on with the shard under way."""

    child_growth_mb: int = Field(default=2048, ge=1)
    """How much memory a worker's process may gain after its start. Above that it is replaced,
    between two tasks."""

    log_format: Literal["text", "json"] = "text"
    """How a worker or a server writes its log."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """The port on which a worker answers Prometheus; None for no port."""

    metrics_host: str = "127.0.0.1"
    """The address for that port. Metrics name no files and need no password."""

    reranker: str | None = None
    """A cross-encoder for ``rerank`` and ``/v1/rerank``: ``hf:org/name`` or ``dir:path``."""

    uploads_url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """The API, as ``http://api:8080``, from which a worker fetches uploads that are not on its
    disk; None if all machines share the data folder."""

    uploads_key: str | None = Field(default=None, repr=False)
    """A key with the scope read, for that API."""

    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    """The model and how it runs: ``ANYMODAL_ENCODER__<FIELD>``."""

    ingest: IngestConfig = Field(default_factory=IngestConfig)
    """How files are read: ``ANYMODAL_INGEST__<FIELD>``."""

    api: ApiConfig = Field(default_factory=ApiConfig)
    """How the API serves: ``ANYMODAL_API__<FIELD>``."""

    @field_validator("store")
    @classmethod
    def _logged_in(cls, store: str | None, info: ValidationInfo) -> str | None:
        login = info.data.get("store_login")
        parts = urlsplit(store or "")
        if not login or parts.scheme not in ("http", "https", "tcp") or "@" in parts.netloc:
            return store
        return parts._replace(netloc=f"{login}@{parts.netloc}").geturl()


_begun: Mapping[str, str] | None = None
_settings: Settings


def current_settings() -> Settings:
    """The settings of this process: read at the first call, the same object from then on.

    Commands, tasks and planners call this, since processes begin there; code below them is handed
    what it needs.

    Raises:
        InputError: a variable, an option or a secret file has a value that its setting cannot take.
    """
    global _begun, _settings
    if _begun is not environment.options():
        try:
            _settings = Settings()
        except ValidationError as error:
            owner = next(settings for settings in _CLASSES if settings.__name__ == error.title)
            raise _refused(owner, error) from None
        _begun = environment.options()
    return _settings


_CLASSES: tuple[type[EnvironmentSettings], ...] = (Settings, EncoderConfig, IngestConfig, ApiConfig)


def variable_names() -> list[str]:
    return [settings.variable(field) for settings in _CLASSES for field in settings.settable()]


def constant(variable: str) -> str | None:
    """What is said of a variable that would set a constant; None if it would set none."""
    for settings in _CLASSES:
        for name in set(settings.model_fields) - set(settings.settable()):
            if settings.variable(name) == variable:
                default = settings.model_fields[name].default
                owner = settings.__name__
                return f"It is always {default}; in Python, pass {owner}({name}=…)."
    return None


def _refused(settings: type[EnvironmentSettings], error: ValidationError) -> InputError:
    """The first problem, by the variable's name; values that may hold passwords stay unsaid."""
    problem = error.errors(include_url=False, include_context=False)[0]
    name = str(problem["loc"][0]) if problem["loc"] else ""
    field = settings.model_fields.get(name)
    hidden = field is None or not field.repr or field.annotation is SecretStr
    return InputError(
        settings.variable(name),
        got="a value that it cannot take" if hidden else repr(problem["input"]),
        wanted=_wanted(problem["msg"]),
    )


def _wanted(message: str) -> str:
    """What pydantic says should have come.

    >>> _wanted("Input should be greater than or equal to 1")
    'a value greater than or equal to 1'
    """
    message = message.partition(", unable to parse")[0]
    for beginning, replacement in (
        ("Input should be a", "a"),
        ("Input should be '", "'"),
        ("Input should be ", "a value "),
        ("String should match", "text that matches"),
        ("Value error, ", "another value: "),
    ):
        if message.startswith(beginning):
            return replacement + message.removeprefix(beginning)
    return f"another value: {message}"
