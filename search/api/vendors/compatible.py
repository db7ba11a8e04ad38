"""What requests of all compatible endpoints have in common."""

from __future__ import annotations

from urllib.parse import quote

from pydantic import ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from search.api.schemas import Strict

_MOST_NAMED = 20


class Compatible(Strict):
    """A request of another vendor's API, whose clients send fields that mean nothing here.

    They are ignored, and named in the answer's ``Ignored-Fields``. What is null was not said.
    """

    model_config = ConfigDict(extra="allow")

    @classmethod
    def _defaulted(cls) -> list[str]:
        """The fields for which null means the default."""
        fields = cls.model_fields.items()
        return [name for name, f in fields if not f.is_required() and f.default is not None]

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, sent: object) -> object:
        if not isinstance(sent, dict):
            return sent
        unsaid = [name for name in cls._defaulted() if sent.get(name, "") is None]
        return {name: value for name, value in sent.items() if name not in unsaid}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        for name in cls._defaulted():
            field = schema["properties"][name]
            about = {
                key: field.pop(key) for key in ("default", "description", "title") if key in field
            }
            schema["properties"][name] = {"anyOf": [field, {"type": "null"}], **about}
        return schema

    @property
    def headers(self) -> dict[str, str]:
        """Those of the answer: names are quoted, since a field may be called anything."""
        names = ", ".join(quote(name) for name in [*(self.model_extra or {})][:_MOST_NAMED])
        return {"Ignored-Fields": names[:1000]} if names else {}
