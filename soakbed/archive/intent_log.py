"""The intent log of a testbed: one line a step, on disk before the step is taken.

It lies beside the state folders, not in one: it outlives teardown, and the state that got lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from soakbed.errors import ArchiveError
from soakbed.records.intents import Intent
from soakbed.records.places import Places

__all__ = ["IntentLog", "all_intent_logs"]

_FOLDER = "intents"


class IntentLog:
    """Append and read; nothing is ever rewritten."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, places: Places) -> IntentLog:
        """The log of the testbed whose places these are."""
        return cls(places.state.parent / _FOLDER / f"{places.state.name}.jsonl")

    def append(self, steps: Sequence[Intent]) -> None:
        """Write all of `steps`, and return when the disk has them."""
        if not steps:
            return
        fresh = not self.path.exists()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = "".join(step.model_dump_json() + "\n" for step in steps).encode()
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                text = b"\n" + text  # the last writer was killed within a line
            if os.write(handle, text) != len(text):
                raise OSError("the disk took only a part")
            os.fsync(handle)
        except OSError as error:
            raise ArchiveError(
                f"{self.path} cannot be written: {error.strerror or error}; nothing was made",
                remedy="make room on that disk: without this log a lost resource is never found",
            ) from error
        finally:
            os.close(handle)
        if fresh:
            _to_disk(self.path.parent)

    def read(self) -> list[Intent]:
        """All steps, oldest first; [] where nothing was ever made.

        A line that was cut short names nothing that exists: its step was not yet taken. Any other
        line that is not ours raises ArchiveError: who cannot see must not say "nothing left".
        """
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        steps = []
        for number, line in enumerate(lines, start=1):
            try:
                told = json.loads(line)
            except ValueError:
                continue
            try:
                steps.append(Intent.model_validate(told))
            except ValidationError as error:
                raise ArchiveError(
                    f"{self.path}:{number} is no intent: {error.errors()[0]['msg']}",
                    remedy="read it with the soakbed that wrote it, or look at the cloud yourself "
                    "and then remove the line",
                ) from error
        return steps


def all_intent_logs(states: Path) -> list[IntentLog]:
    """The logs below one folder of states (SOAKBED_STATE), by name of testbed."""
    return [IntentLog(path) for path in sorted((states / _FOLDER).glob("*.jsonl"))]


def _to_disk(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
