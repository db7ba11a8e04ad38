"""What the classes of settings share: which of their fields the environment may set."""

from __future__ import annotations

from inspect import get_annotations
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource


class EnvironmentSettings(BaseSettings):
    """Settings; the fields that a class inherits are constants.

    The environment sets the fields that are written in the class itself. A constant has one right
    value, by measurement or because a limit keeps out broken files: code that knows better passes
    another as an argument.
    """

    @classmethod
    def variable(cls, field: str) -> str:
        """The name of a field in the environment."""
        return f"{cls.model_config['env_prefix']}{field}".upper()

    @classmethod
    def settable(cls) -> list[str]:
        """The fields that the environment may set."""
        fields = get_annotations(cls)
        return [field for field in cls.model_fields if field in fields]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (this class)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (replaced: see below)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (not used: no .env is read)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (`workers.config`)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment."""
        return init_settings, _Environment(cls)


class _Environment(EnvSettingsSource):
    def __init__(self, settings: type[EnvironmentSettings]) -> None:
        super().__init__(settings)
        self._settable = set(settings.settable())

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if name in self._settable}
