"""What was brought from the hosts after a target's load; `<target>/collected.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen

__all__ = ["CollectInventory"]


class CollectInventory(Frozen):
    """Where each piece of evidence lies, and what of it was cut or could not be had.

    `files`: host -> path below `hosts/<host>/` -> bytes; also what "this machine" itself gave.
    `notes` begin with the host's name.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    target: str
    since_s: float  # journals begin here, unix time
    files: dict[str, dict[str, int]]
    notes: tuple[str, ...] = ()
