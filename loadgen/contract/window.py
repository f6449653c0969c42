"""Windows: what one engine saw in one short interval, per operation.

An operation is counted in the window in which it *ended*; `due` and `sent` in the window in
which they happened. Over a whole session sent = ok + failed + unknown, always (design.md D7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadgen.contract.histogram import Histogram

__all__ = [
    "CAUSES",
    "HISTOGRAMS",
    "GeneratorState",
    "OperationWindow",
    "SessionBegin",
    "SessionEnd",
    "Window",
]

SCHEMA = 1

# The histograms of an operation, in the order in which they are written.
HISTOGRAMS = ("response", "service", "lag")

# The whole set of error causes; never free text, so that no message can leak or multiply.
CAUSES = (
    "timeout",  # no reply within the time limit: unknown
    "connection",  # broken before the reply: unknown when sent, failed when surely not
    "tls",  # handshake refused
    "auth",  # certificate, user or permission refused
    "cluster_down",  # CLUSTERDOWN, no leader, a region that nobody serves, a member that stops
    "redirect_limit",  # more redirects than allowed
    "busy",  # LOADING, TRYAGAIN, too many requests, ServerIsBusy
    "no_space",  # etcd NOSPACE (unknown), Redis OOM, TiKV DiskFull (failed)
    "read_only",  # READONLY, MISCONF
    "missing",  # a read found no value for a key that was filled
    "corrupt",  # a value came back that cannot be what was written
    "protocol",  # bytes that are not the protocol
    "other",  # an error reply outside this list
)


@dataclass(slots=True)
class OperationWindow:
    """One operation ("read" or "write") in one window. Histograms hold `ok` operations only.

    response = reply - due, service = reply - sent, lag = sent - due (closed loop: lag is 0 and
    response equals service). All in us.
    """

    due: int = 0
    sent: int = 0
    ok: int = 0
    failed: int = 0
    unknown: int = 0
    dropped: int = 0  # due, but never sent: the overdue queue was full, or the time limit passed
    causes: dict[str, int] = field(default_factory=dict)
    response: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return self.plain(Histogram.to_json)

    def plain(self, histogram: Callable[[Histogram], object]) -> dict[str, Any]:
        """Plain data, with what `histogram` makes of each histogram."""
        return {
            "due": self.due,
            "sent": self.sent,
            "ok": self.ok,
            "failed": self.failed,
            "unknown": self.unknown,
            "dropped": self.dropped,
            "causes": self.causes,
            **{name: histogram(getattr(self, name)) for name in HISTOGRAMS},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> OperationWindow:
        """Read plain data back."""
        values = dict(data)
        for name in HISTOGRAMS:
            values[name] = Histogram.from_json(values[name])
        return cls(**values)

    def add(self, other: OperationWindow) -> None:
        """Merge the same operation of another worker or window; exact."""
        for name in ("due", "sent", "ok", "failed", "unknown", "dropped"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for cause, count in other.causes.items():
            self.causes[cause] = self.causes.get(cause, 0) + count
        self.response.add(other.response)
        self.service.add(other.service)
        self.lag.add(other.lag)


@dataclass(slots=True)
class GeneratorState:
    """How the engine itself fared in the window; what `generator_bound` is judged by."""

    # CPU time of the engine / wall time, 1.0 = its whole core; without waiting awake for a due time
    cpu_share: float = 0.0
    loop_lag_max_us: int = 0  # longest stretch of one pass through the event loop
    overdue_max: int = 0  # most requests due and not yet sent
    in_flight_max: int = 0
    reconnects: int = 0
    moved: int = 0  # MOVED, and TiKV region errors that were followed
    ask: int = 0
    # Share of the window in which the engine was ready to run and something else had its core.
    # None: the kernel does not count it.
    wait_share: float | None = None
    # Bytes of the busier direction over what the link to the target carries; all traffic of the
    # interface. None: the link has no honest speed (loopback, veth, most virtual cards).
    nic_share: float | None = None


@dataclass(slots=True)
class Window:
    """One interval of one engine. `start_s` is whole unix seconds; `kind` in JSON is "window".

    `late` is the engine's own delay in us, open loop only: sent - the moment the operation could
    first be sent, which is when it was due or, if all connections were busy then, when one came
    free. Waiting for a busy target is thus in `lag`, and not in `late`.
    """

    worker: int
    seq: int
    phase: str
    mode: str
    start_s: int
    length_s: int
    operations: dict[str, OperationWindow]
    generator: GeneratorState
    complete: bool = True  # False: the phase ended inside this window
    late: Histogram = field(default_factory=Histogram)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return self.plain(Histogram.to_json)

    def plain(self, histogram: Callable[[Histogram], object]) -> dict[str, Any]:
        """Plain data, with what `histogram` makes of each histogram."""
        return {
            "kind": "window",
            "schema": SCHEMA,
            "worker": self.worker,
            "seq": self.seq,
            "phase": self.phase,
            "mode": self.mode,
            "start_s": self.start_s,
            "length_s": self.length_s,
            "complete": self.complete,
            "late": histogram(self.late),
            "operations": {name: op.plain(histogram) for name, op in self.operations.items()},
            "generator": {name: getattr(self.generator, name) for name in GeneratorState.__slots__},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Window:
        """Read plain data back. Raises ValueError on another schema."""
        if data.get("schema") != SCHEMA or data.get("kind") != "window":
            raise ValueError(f"not a window of schema {SCHEMA}: {str(data)[:80]}")
        return cls(
            worker=data["worker"],
            seq=data["seq"],
            phase=data["phase"],
            mode=data["mode"],
            start_s=data["start_s"],
            length_s=data["length_s"],
            complete=data["complete"],
            late=Histogram.from_json(data["late"]) if "late" in data else Histogram(),
            operations={k: OperationWindow.from_json(v) for k, v in data["operations"].items()},
            generator=GeneratorState(**data["generator"]),
        )


@dataclass(slots=True)
class SessionBegin:
    """An engine begins: the first frame of a spool, and again wherever one took another's place.

    `attempt` counts the engines of a rank from 0, `seq` is the number of its first window; `kind`
    is "begin". `reason` is "start", or why this engine came: "engine_died", "host_booted".
    """

    worker: int
    attempt: int
    at_s: float  # unix time
    seq: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain data, as spooled."""
        values = {name: getattr(self, name) for name in SessionBegin.__slots__}
        return {"kind": "begin", "schema": SCHEMA, **values}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SessionBegin:
        """Read plain data back. Raises ValueError on another schema."""
        if data.get("schema") != SCHEMA or data.get("kind") != "begin":
            raise ValueError(f"not a session begin of schema {SCHEMA}: {str(data)[:80]}")
        return cls(**{name: data[name] for name in SessionBegin.__slots__})


@dataclass(slots=True)
class SessionEnd:
    """The last frame of a spool: the engine's own totals, so that a reader can check the sum.

    They are of the windows since its begin, which are not all where engines died before it.

    `outcome` is "finished", "stopped" (asked to) or "failed" with `reason`; `kind` is "end".
    `notes` holds what the engine found out, e.g. TLS version and cipher.
    """

    worker: int
    outcome: str
    reason: str
    sent: int
    ok: int
    failed: int
    unknown: int
    notes: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data, as spooled."""
        values = {name: getattr(self, name) for name in SessionEnd.__slots__}
        return {"kind": "end", "schema": SCHEMA, **values}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SessionEnd:
        """Read plain data back. Raises ValueError on another schema."""
        if data.get("schema") != SCHEMA or data.get("kind") != "end":
            raise ValueError(f"not a session end of schema {SCHEMA}: {str(data)[:80]}")
        return cls(**{k: v for k, v in data.items() if k not in ("kind", "schema")})
