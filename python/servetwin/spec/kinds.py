"""Parts of a spec that come in kinds: only the kind that is asked for is built."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.fields import Field
from pydantic_core import CoreSchema, PydanticKnownError, core_schema


class ByKind:
    """Of a union of models, the one whose `tag` says so, as pydantic's `discriminator` finds it.

    That would build the validators of all of them, of which a run needs one: a third of the time to read a spec.
    """

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._union: Any = None

    def __get_pydantic_core_schema__(self, union: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        self._union = union
        tag, kinds = self._tag, by_kind(union, self._tag)
        models = tuple(dict.fromkeys(kinds.values()))

        def read(value: Any) -> BaseModel:
            if isinstance(value, models):
                return value
            if not isinstance(value, dict):
                raise PydanticKnownError("model_attributes_type")
            if tag not in value:
                raise PydanticKnownError("union_tag_not_found", {"discriminator": repr(tag)})
            model = kinds.get(value[tag]) if isinstance(value[tag], str) else None
            if model is None:
                known = ", ".join(map(repr, kinds))
                about = {"discriminator": repr(tag), "tag": str(value[tag]), "expected_tags": known}
                raise PydanticKnownError("union_tag_invalid", about)
            return model.model_validate(value)

        return core_schema.no_info_plain_validator_function(read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        whole: Any = typing.Annotated[self._union, Field(discriminator=self._tag)]
        return handler(TypeAdapter(whole).core_schema)


def by_kind(union: Any, tag: str) -> dict[str, type[BaseModel]]:
    """The models of a union, by the values of their `tag`."""
    return {kind: model for model in models_in(union) for kind in kind_names(model, tag)}


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """All models that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in models_in(argument)]


def kind_names(model: type[BaseModel], tag: str) -> tuple[str, ...]:
    """The values that a model's `tag` may have; none without such a field."""
    field = model.model_fields.get(tag)
    return typing.get_args(field.annotation) if field is not None else ()
