"""How an operation can end (design.md D7), and the errors that end a session."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FAILED", "UNKNOWN", "Lost", "NotNow", "SessionFailed", "TargetProtocolError"]

FAILED = "failed"  # surely not applied
UNKNOWN = "unknown"  # may have been applied


class Lost(NamedTuple):
    """An operation that did not end ok: `failed` or `unknown`, and one of window.CAUSES."""

    outcome: str
    cause: str


class TargetProtocolError(ValueError):
    """Bytes from the target that are not its protocol; the connection cannot go on."""


class NotNow(Exception):
    """A session that has begun cannot be gone on with at this moment; try again a little later."""


class SessionFailed(Exception):
    """The session cannot go on; the text becomes the reason in the spool's last frame."""
