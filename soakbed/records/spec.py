"""What the user asked for: testbed, workload, targets and profile, checked before anything is made.

`load_*` in `soakbed.stages.specs` read the files and turn every pydantic complaint into a Mistake.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from soakbed.records.frozen import Frozen
from soakbed.records.ladder import KneeSpec, SteadySpec
from soakbed.records.testbed_spec import HostSpec, HourPrice, PlainName, TestbedSpec

__all__ = [
    "TARGETS",
    "HostSpec",
    "HourPrice",
    "Phases",
    "PopularitySpec",
    "RunSpec",
    "TargetName",
    "TestbedSpec",
    "WorkloadSpec",
]

TargetName = Literal["etcd", "redis_cluster", "tikv"]
TARGETS: tuple[TargetName, ...] = ("etcd", "redis_cluster", "tikv")
_OF_A_STEP = ("step_s", "settle_s")


class PopularitySpec(Frozen):
    """Which keys are asked for (see loadgen.contract.plan.Popularity)."""

    kind: Literal["uniform", "zipf", "hot_set"] = "uniform"
    theta: Annotated[float, Field(gt=0, lt=2)] = 0.99
    hot_keys_share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    hot_traffic_share: Annotated[float, Field(gt=0, lt=1)] = 0.95


class Phases(Frozen):
    """How long each phase lasts, in seconds."""

    warmup_s: Annotated[int, Field(ge=0)] = 5
    capacity_s: Annotated[int, Field(ge=3)] = 20
    settle_s: Annotated[int, Field(ge=0)] = 5
    steady_s: Annotated[int, Field(ge=3)] = 30


class WorkloadSpec(Frozen):
    """What is sent, and how fast: a file in `loadgen/workloads/`.

    `steady` says where the steady rate comes from; `steady_share_of_capacity` is the older key for
    one of its answers, and what counts where `steady` is not there.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    name: PlainName
    keys: Annotated[int, Field(ge=100, le=100_000_000)]
    value_bytes: Annotated[int, Field(ge=64, le=1_000_000)] = 1024
    read_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    popularity: PopularitySpec = PopularitySpec()
    connections: Annotated[int, Field(ge=1, le=10_000)] = 48
    pipeline: Annotated[int, Field(ge=1, le=1024)] = 1
    # TiKV alone: operations of one region in one call at most, or all calls as one stream.
    batch: Annotated[int, Field(ge=1, le=512)] = 1
    batched_stream: bool = False
    timeout_ms: Annotated[int, Field(ge=10, le=600_000)] = 5000
    seed: Annotated[int, Field(ge=0)] = 1
    arrivals: Literal["constant", "poisson"] = "poisson"
    steady_share_of_capacity: Annotated[float, Field(gt=0, le=1)] = 0.5
    steady: SteadySpec | None = None
    knee: KneeSpec | None = None
    phases: Phases = Phases()
    # Planned housekeeping of a target while it is pressed; auto: where the steady phase is long.
    housekeeping: Literal["auto", "on", "off"] = "auto"
    window_s: Annotated[int, Field(ge=1, le=60)] = 1
    # Of the keys: every operation on them is recorded, for the checks of consistency; 0: none.
    history_share: Annotated[float, Field(ge=0, le=1)] = 0.01

    @property
    def most_in_flight(self) -> int:
        """How many operations can be under way at once, over all workers."""
        return self.connections * self.pipeline * self.batch

    @property
    def steady_rate(self) -> SteadySpec:
        """Where the steady rate comes from, whichever key says it."""
        return self.steady or SteadySpec(share_of_capacity=self.steady_share_of_capacity)

    @model_serializer(mode="wrap")
    def _what_was_asked(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without keys that say nothing: an older soakbed reads what asks for nothing newer."""
        made: dict[str, Any] = plain(self)
        usual = WorkloadSpec.model_fields["history_share"].default
        unsaid = [name for name in ("steady", "knee") if getattr(self, name) is None]
        unsaid += ["history_share"] if self.history_share == usual else []
        for name in [*unsaid, *(["steady_share_of_capacity"] if self.steady else [])]:
            made.pop(name, None)
        return made

    @model_validator(mode="after")
    def _one_way_to_the_steady_rate(self) -> WorkloadSpec:
        if self.steady is None:
            return self
        if "steady_share_of_capacity" in self.model_fields_set:
            raise ValueError(
                f"steady_share_of_capacity={self.steady_share_of_capacity:g} beside steady; "
                "leave one of them out"
            )
        if self.steady.share_of_knee is not None and self.knee is None:
            raise ValueError(
                f"steady.share_of_knee={self.steady.share_of_knee:g}, and no knee is looked for; "
                "add knee: {slo: {p99_ms: 50}}"
            )
        return self

    @model_validator(mode="after")
    def _a_stream_makes_its_own_batches(self) -> WorkloadSpec:
        if self.batched_stream and self.batch > 1:
            raise ValueError(
                f"batch={self.batch} with batched_stream, which makes batches itself; "
                "leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _phases_hold_whole_windows(self) -> WorkloadSpec:
        measured = {name: getattr(self.phases, name) for name in ("capacity_s", "steady_s")}
        if self.knee is not None:
            ladder = self.knee.ladder
            measured |= {f"knee.ladder.{name}": getattr(ladder, name) for name in _OF_A_STEP}
        for name, asked in measured.items():
            if asked % self.window_s:
                raise ValueError(
                    f"{name}={asked} is not a whole number of {self.window_s} s windows; "
                    f"use {max(1, asked // self.window_s) * self.window_s}"
                )
        return self


class RunSpec(Frozen):
    """One run: testbed x targets x profile x workload. Saved as spec.json before the first stage.

    `appendfsync` is the declared durability of Redis; `allow_substitute` lets a target run with
    another version than the pinned one (design.md D2), named as such on the page.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    testbed: TestbedSpec
    workload: WorkloadSpec
    targets: tuple[TargetName, ...]
    profile: Literal["stock", "tuned"] = "tuned"
    appendfsync: Literal["always", "everysec", "no"] = "everysec"
    allow_substitute: bool = True
    on_unavailable: Literal["not_measured", "fail"] = "not_measured"
