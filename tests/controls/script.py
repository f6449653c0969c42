"""What a scripted server shall do, as plain data; the truth of a control is written here first."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

__all__ = ["Script", "Service", "SlowReads", "Stall"]


@dataclass(frozen=True, slots=True)
class Service:
    """How long an operation is held between its last byte in and its first byte out, in us.

    `fixed` is always `us`; `bimodal` is `slow_us` for `slow_share` of them; `lognormal` has the
    median `us` and the shape `sigma`.
    """

    kind: Literal["fixed", "bimodal", "lognormal"] = "fixed"
    us: int = 0
    slow_us: int = 0
    slow_share: float = 0.0
    sigma: float = 0.0

    def draw_us(self, random: Random) -> int:
        """One holding time."""
        if self.kind == "bimodal":
            return self.slow_us if random.random() < self.slow_share else self.us
        if self.kind == "lognormal":
            return round(self.us * random.lognormvariate(0.0, self.sigma))
        return self.us


@dataclass(frozen=True, slots=True)
class Stall:
    """After `after` operations were read, nothing happens for `for_s`: no read, no write.

    With `reads_only` the server stays deaf, but still answers what it had read.
    """

    after: int
    for_s: float
    reads_only: bool = False


@dataclass(frozen=True, slots=True)
class SlowReads:
    """Take at most `size_bytes` from a socket, then leave it alone for `every_ms`."""

    size_bytes: int
    every_ms: int


@dataclass(frozen=True, slots=True)
class Script:
    """One scripted server process.

    `shares` gives what happens to which share of the operations, drawn from `seed`; `at` says it
    for single ones by their number (1 is the first). What can happen is in `happenings.py`. The
    first `calm` operations are answered well and at once, e.g. to let the engine fill the keys.
    """

    protocol: Literal["resp", "grpc", "tikv"]
    servers: int = 1  # RESP: that many members share the slots evenly
    ca: str = ""  # file paths; empty: no TLS. With TLS a client needs a certificate of this CA
    cert: str = ""
    key: str = ""
    password: str = ""
    read: Service = field(default_factory=Service)
    write: Service = field(default_factory=Service)
    shares: dict[str, float] = field(default_factory=dict)
    at: dict[int, str] = field(default_factory=dict)
    stalls: tuple[Stall, ...] = ()
    slow_reads: SlowReads | None = None
    calm: int = 0
    seed: int = 1

    def write_file(self, path: Path) -> None:
        """Save as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read_file(cls, path: Path) -> Script:
        """Read what `write_file` saved. Raises TypeError on unknown keys."""
        values: dict[str, Any] = json.loads(path.read_text())
        for name in ("read", "write"):
            values[name] = Service(**values[name])
        values["stalls"] = tuple(Stall(**stall) for stall in values["stalls"])
        values["slow_reads"] = SlowReads(**values["slow_reads"]) if values["slow_reads"] else None
        values["at"] = {int(number): what for number, what in values["at"].items()}
        return cls(**values)
