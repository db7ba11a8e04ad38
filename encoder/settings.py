"""What the classes of settings share: which of their fields the environment may set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from inspect import get_annotations
from typing import Any, ClassVar, get_origin

from pydantic import BaseModel, ConfigDict

from encoder.errors import InputError
from encoder.system import environment


class EnvironmentSettings(BaseModel):
    """Settings; the fields that a class inherits are constants.

    The environment sets the fields that are written in the class itself. A constant has one right
    value, by measurement or because a limit keeps out broken files: code that knows better passes
    another as an argument.

    Raises:
        InputError: a list or an object in the environment is not JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    PREFIX: ClassVar[str]
    """What the names of its variables begin with."""

    def __init__(self, **values: Any) -> None:
        fields = {self.variable(field): field for field in self.settable()}
        texts = environment.settings(fields)
        values_by_name = {fields[name]: self._read(fields[name], texts[name]) for name in texts}
        super().__init__(**{**self.unnamed(), **values_by_name, **values})

    @classmethod
    def variable(cls, field: str) -> str:
        """The name of a field in the environment."""
        return f"{cls.PREFIX}{field}".upper()

    @classmethod
    def settable(cls) -> list[str]:
        """The fields that the environment may set."""
        fields = get_annotations(cls)
        return [field for field in cls.model_fields if field in fields]

    @classmethod
    def unnamed(cls) -> dict[str, Any]:
        """Values of fields for which there is neither an argument nor a variable."""
        return {}

    @classmethod
    def _read(cls, field: str, text: str) -> Any:
        """The value of a field from a text, in which tuples and mappings are JSON."""
        is_json = get_origin(cls.model_fields[field].annotation) in (tuple, Mapping)
        try:
            return json.loads(text) if is_json else text
        except ValueError:
            raise InputError(
                cls.variable(field),
                got="a value that is not JSON",
                wanted='a list or an object: ["a", "b"]',
            ) from None
