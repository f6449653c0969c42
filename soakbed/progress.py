"""How long work is shown: a living line on a terminal, calm plain lines everywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

__all__ = ["Display", "TimeRow", "time_table"]

# Without a terminal (CI, a log file) one line of detail in this time is enough to see life.
_QUIET_S = 5.0


class TimeRow(Protocol):
    """What a line of the time table needs; `records.run.StageTime` has it."""

    @property
    def stage(self) -> str:
        """The stage's name."""

    @property
    def seconds(self) -> float:
        """How long it took."""

    @property
    def changed(self) -> int | None:
        """How many resources or tasks it changed, if it counts them."""


class Display:
    """Takes one-line messages from the stages. "[name]" opens a stage and is always printed,

    and so is a "warning: ...".
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._stage = ""
        self._said_at = 0.0

    @contextmanager
    def shown(self) -> Iterator[Display]:
        """Show messages for the length of the block; the living line is gone afterwards."""
        if not self._console.is_terminal:
            yield self
            return
        with self._console.status("") as status:
            self._status = status
            try:
                yield self
            finally:
                self._status = None

    def __call__(self, message: str) -> None:
        """Show one message."""
        if message.startswith("[") and message.endswith("]"):
            self._stage = message[1:-1]
            self._console.print(f"[bold]{escape(self._stage)}[/bold]", highlight=False)
            self._said_at = 0.0
        elif message.startswith("warning: "):
            self._console.print(message, style="yellow", markup=False, soft_wrap=True)
        elif self._status is not None:
            self._status.update(f"{escape(self._stage)}  {escape(message)}")
        elif time.monotonic() - self._said_at >= _QUIET_S:
            self._console.print(f"  {escape(message)}", highlight=False, soft_wrap=True)
            self._said_at = time.monotonic()


def time_table(times: Sequence[TimeRow]) -> Table:
    """Stages with their seconds and changes, and the sum."""
    table = Table(title="where the time went", title_justify="left")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("changed", justify="right")
    for taken in times:
        changed = "" if taken.changed is None else str(taken.changed)
        table.add_row(escape(taken.stage), f"{taken.seconds:.1f}", changed)
    table.add_section()
    counted = [taken.changed for taken in times if taken.changed is not None]
    total = sum(taken.seconds for taken in times)
    table.add_row("together", f"{total:.1f}", str(sum(counted)) if counted else "")
    return table
