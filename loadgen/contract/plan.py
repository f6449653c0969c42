"""The plan: everything an engine needs to press one target, as one JSON file.

`soakbed` writes it, the load hosts read it; nothing else tells an engine what to do, so that a
run goes on when master, controller or network are gone (design.md D9).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["Auth", "Keyspace", "Phase", "Plan", "Popularity", "Target", "Tls"]

SCHEMA = 1

Target = Literal["etcd", "redis_cluster", "tikv"]
Mode = Literal["fill", "closed", "open"]


@dataclass(frozen=True, slots=True)
class Tls:
    """Where the client's certificate lies on the load host; all three are file paths."""

    ca: str
    cert: str
    key: str


@dataclass(frozen=True, slots=True)
class Auth:
    """User name, and the file (mode 0600) that holds the password; never the password."""

    user: str
    password_file: str


@dataclass(frozen=True, slots=True)
class Popularity:
    """Which keys are asked for. `theta` is for zipf; the two shares are for hot_set (0-1)."""

    kind: Literal["uniform", "zipf", "hot_set"] = "uniform"
    theta: float = 0.99
    hot_keys_share: float = 0.05
    hot_traffic_share: float = 0.95


@dataclass(frozen=True, slots=True)
class Keyspace:
    """The keys: `prefix` + a number below `keys`, asked for by `popularity` from the seed."""

    keys: int
    prefix: str
    popularity: Popularity = field(default_factory=Popularity)


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of load.

    `fill` writes every key once and ends when done (`duration_s` is then its time limit);
    `closed` keeps every connection busy; `open` sends at `rate_per_s` (whole run, all workers).
    """

    name: str  # fill, warmup, capacity, steady, cooldown
    mode: Mode
    duration_s: int
    rate_per_s: float = 0.0
    arrivals: Literal["constant", "poisson"] = "poisson"


@dataclass(frozen=True, slots=True)
class Plan:
    """One session of load against one target. See `loadgen/README.md` for each field's meaning."""

    run_id: str
    session: str  # "capacity" or "steady"
    target: Target
    endpoints: tuple[str, ...]  # "address:port"; all of them are used
    keyspace: Keyspace
    phases: tuple[Phase, ...]
    tls: Tls | None  # None only in benchmarks of the engine itself
    auth: Auth | None = None
    value_bytes: int = 1024
    read_share: float = 0.5
    connections: int = 48  # whole run, all workers
    pipeline: int = 1
    batch: int = 1  # tikv: operations of one region and kind in one call, at most
    batched_stream: bool = False  # tikv: one BatchCommands stream per connection, not unary calls
    timeout_ms: int = 5000
    window_s: int = 1
    workers: int = 1
    # Of the keys: all operations on them are recorded (contract.history); 0 = none.
    history_share: float = 0.01
    overdue_limit: int = 10_000  # per worker; above it due requests are dropped and counted
    seed: int = 1
    start_at_s: float = 0.0  # unix time at which all workers begin; 0 = at once
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """Plain data, ready for `json.dump`."""
        return asdict(self)

    def write(self, path: Path) -> None:
        """Write the plan as JSON."""
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Read a plan. Raises ValueError on another schema, TypeError on unknown keys."""
        if data.get("schema") != SCHEMA:
            raise ValueError(f"plan schema {data.get('schema')!r}, this loadgen reads {SCHEMA}")
        values = {"history_share": 0.0, **data}  # older ones recorded nothing
        keyspace = dict(values["keyspace"])
        keyspace["popularity"] = Popularity(**keyspace["popularity"])
        values["keyspace"] = Keyspace(**keyspace)
        values["phases"] = tuple(Phase(**phase) for phase in values["phases"])
        values["endpoints"] = tuple(values["endpoints"])
        values["tls"] = Tls(**values["tls"]) if values["tls"] else None
        values["auth"] = Auth(**values["auth"]) if values["auth"] else None
        return cls(**values)

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan file."""
        return cls.from_json(json.loads(path.read_text()))
