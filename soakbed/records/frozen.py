"""The base of every record: unknown keys are refused, fields never change."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Frozen"]


class Frozen(BaseModel):
    """A record that cannot drift."""

    model_config = ConfigDict(frozen=True, extra="forbid")
