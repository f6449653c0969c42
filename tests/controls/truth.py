"""What a scripted server did, by its own account, and what follows for each operation's time.

Nothing here depends on how fast the machine was. On a connection that carries one operation at
a time, with the server's stamps of operation k:

    write(k-1) <= sent(k) <= first byte read(k) <= write(k) <= reply(k) <= read(k+1)

since a request is read after it was sent, a reply comes after it was written, and the next
request goes out after the reply. So the engine's service time lies between write(k) - read(k)
and read(k+1) - write(k-1), whoever else was at work. Both ends are measured, none is assumed.
What holds for each operation holds for every percentile of them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Row", "Stalled", "Truth", "percentile"]


@dataclass(slots=True)
class Row:
    """One operation as the server saw it; times in monotonic ns, `write_ns` 0 if no reply."""

    member: int
    connection: int
    word: str  # read, write
    number: int  # the writer's number of the value; -1 for reads
    happening: str
    asking: bool = False
    size_bytes: int = 0  # of the value
    free_ns: int = 0  # just before the reply before it went out on its connection
    first_ns: int = 0  # when its first byte was read
    read_ns: int = 0  # when its last byte was read
    write_ns: int = 0  # just before its reply went out
    next_ns: int = 0  # when the next operation, or the connection's end, was read


@dataclass(slots=True)
class Stalled:
    """A stall as it was, not as it was meant."""

    began_ns: int
    ended_ns: int
    reads_only: bool

    @property
    def seconds(self) -> float:
        """How long."""
        return (self.ended_ns - self.began_ns) / 1e9


@dataclass(slots=True)
class Truth:
    """The whole account. `rows` are in the order in which the operations were read."""

    rows: list[Row] = field(default_factory=list)
    stalls: list[Stalled] = field(default_factory=list)
    own: dict[str, int] = field(default_factory=dict)  # requests that are no operations, by word
    connections: int = 0

    def count(self, *happenings: str, word: str = "") -> int:
        """Operations to which one of these happened."""
        return sum(row.happening in happenings and word in ("", row.word) for row in self.rows)

    def happenings(self) -> dict[str, int]:
        """How often what happened."""
        made: dict[str, int] = {}
        for row in self.rows:
            made[row.happening] = made.get(row.happening, 0) + 1
        return made

    def service_bounds_us(self, word: str, *, skip: int = 0) -> tuple[list[int], list[int]]:
        """(least, most) service time of each `ok` operation of this word, both sorted.

        Leaves out the first `skip` operations of all. Only for one operation at a time on a
        connection.
        """
        rows = [row for row in self.rows[skip:] if row.word == word and row.happening == "ok"]
        least = sorted((row.write_ns - row.first_ns) // 1000 for row in rows)
        most = sorted(-(-(row.next_ns - row.free_ns) // 1000) for row in rows)
        return least, most

    def write_file(self, path: Path) -> None:
        """Save as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read_file(cls, path: Path) -> Truth:
        """Read what `write_file` saved."""
        values: dict[str, Any] = json.loads(path.read_text())
        values["rows"] = [Row(**row) for row in values["rows"]]
        values["stalls"] = [Stalled(**stall) for stall in values["stalls"]]
        return cls(**values)


def percentile(ordered: Iterable[int], percent: float) -> int:
    """Nearest rank: the least value that `percent` (0-100) of all do not exceed; sorted input."""
    values = list(ordered)
    return values[max(1, -int(-len(values) * percent // 100)) - 1]
