"""What the load hosts can do at most, measured against a target that does nothing.

Made by `stages.calibrate`, kept beside the testbed's state, and in the manifest of every run after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from soakbed.records.frozen import Frozen
from soakbed.records.spec import WorkloadSpec

__all__ = [
    "MOST_OFFERED_SHARE",
    "Calibration",
    "Ceiling",
    "HostCeiling",
    "Protocol",
    "RunCalibration",
    "Shape",
    "kept_as",
]

# Issue 3 and measuring.md 1.3: above this the generator's own delay grows into what it measures.
MOST_OFFERED_SHARE = 0.70
# An engine with more of its core to spare than this was held up by something else: the null
# server, or others on the machine. The same 80 % above which a run's engine is the limit.
_FULL_ENGINE = 0.80


Protocol = Literal["RESP", "etcd gRPC", "TiKV gRPC"]


def kept_as(target: str, workload: WorkloadSpec) -> str:
    """The name of a ceiling: TiKV's is another with each way of calling that a workload asks for.

    Calls of one key bear the target's name alone, as every ceiling did before there were others.
    """
    if target == "tikv" and workload.batched_stream:
        return "tikv batched_stream"
    if target == "tikv" and workload.batch > 1:
        return f"tikv batch={workload.batch}"
    return target


class Shape(Frozen):
    """The part of a workload that the ceilings of all targets depend on."""

    value_bytes: int
    read_share: float
    connections: int
    pipeline: int

    @classmethod
    def of(cls, workload: WorkloadSpec) -> Shape:
        """The shape of a workload."""
        return cls(**{name: getattr(workload, name) for name in cls.model_fields})


class HostCeiling(Frozen):
    """What one load host did, all of its workers together.

    `cpu_share` is that of the busiest worker, `wait_share` the worst second in which something
    else had an engine's core (None: the kernel does not count it).
    """

    workers: int
    ops_per_s: float
    p50_us: int | None
    cpu_share: float
    wait_share: float | None = None


class Ceiling(Frozen):
    """The ceiling in one protocol. `servers`: data host -> CPU share of its null server.

    `calls`: how several operations share a call, in a few words; empty where each has its own.
    `at_s`: when it was measured; 0 in files that tell it for all ceilings at once.
    """

    protocol: Protocol
    calls: str = ""
    at_s: float = 0.0
    tls: str
    seconds: int
    hosts: dict[str, HostCeiling]
    servers: dict[str, float]

    @property
    def named(self) -> str:
        """Protocol and way of calling, for people."""
        return f"{self.protocol}, {self.calls}" if self.calls else self.protocol

    @property
    def ops_per_s(self) -> float:
        """All load hosts together."""
        return sum(host.ops_per_s for host in self.hosts.values())

    @property
    def at_least(self) -> bool:
        """Whether an engine had CPU time to spare, so that the true ceiling lies higher."""
        return any(host.cpu_share < _FULL_ENGINE for host in self.hosts.values())


class Calibration(Frozen):
    """`calibration.json`: a ceiling for each target's protocol and way of calling."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    testbed: str
    at_s: float
    engine_build: str  # hash of the package loadgen that the load hosts ran
    machines: dict[str, str]  # load host -> CPU model, cores and kernel, as it says itself
    shape: Shape
    ceilings: dict[str, Ceiling]  # by `kept_as`


class RunCalibration(Frozen):
    """What a run knew of its load hosts' ceiling. `stale`: why it may no longer hold."""

    calibration: Calibration | None = None
    stale: tuple[str, ...] = ()

    @classmethod
    def in_manifest(cls, manifest: Mapping[str, Any]) -> RunCalibration:
        """As a run's manifest holds it; an older one knows nothing of calibrations."""
        return cls.model_validate(manifest.get("calibration") or {})

    def ceiling(self, target: str, workload: WorkloadSpec) -> Ceiling | None:
        """The ceiling for a target, called as the workload calls it; None: not measured."""
        held = self.calibration
        return held.ceilings.get(kept_as(target, workload)) if held else None

    def offered_share(
        self, target: str, workload: WorkloadSpec, offered_per_s: float
    ) -> float | None:
        """Offered rate over the ceiling; None when there is no ceiling."""
        ceiling = self.ceiling(target, workload)
        return offered_per_s / ceiling.ops_per_s if ceiling and ceiling.ops_per_s else None
