"""The base of every record: unknown keys are refused, fields never change."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

__all__ = ["Frozen", "Sparing"]


class Frozen(BaseModel):
    """A record that cannot drift."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sparing(Frozen):
    """A record that grew: of the fields in `grown`, it writes only those that say something.

    So an older soakbed, which refuses keys it does not know, reads what asks for nothing newer.
    """

    grown: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _what_was_said(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        made: dict[str, Any] = plain(self)
        fields = type(self).model_fields
        for name in self.grown:
            if name in made and getattr(self, name) == fields[name].default:
                del made[name]
        return made
