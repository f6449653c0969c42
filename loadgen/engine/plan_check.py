"""Everything that is wrong with a plan, found at once and before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loadgen.contract.plan import Phase, Plan
from loadgen.engine.connection import split_endpoint
from loadgen.keyspace import ID_BYTES

__all__ = ["problems_of"]

MAX_BATCH = 512  # as client-go has it
MAX_VALUE_BYTES = 64 * 1024 * 1024


def problems_of(plan: Plan, *, rank: int) -> list[str]:
    """One line per problem: key, value, remedy. Empty when the plan can be run."""
    return [
        *_load_problems(plan),
        *_share_problems(plan, rank),
        *_keyspace_problems(plan),
        *_endpoint_problems(plan),
        *_file_problems(plan),
        *(line for at, phase in enumerate(plan.phases) for line in _phase_problems(at, phase)),
    ]


def _load_problems(plan: Plan) -> Iterator[str]:
    if plan.target not in ("etcd", "redis_cluster", "tikv"):
        yield f"target: {plan.target!r} is unknown; use etcd, redis_cluster or tikv"
    if not ID_BYTES <= plan.value_bytes <= MAX_VALUE_BYTES:
        yield (
            f"value_bytes: {plan.value_bytes} has no room for a value's id; "
            f"use {ID_BYTES} to {MAX_VALUE_BYTES}"
        )
    if not 0 <= plan.read_share <= 1:
        yield f"read_share: {plan.read_share} is no share; use 0 to 1"
    if not 0 <= plan.history_share <= 1:
        yield f"history_share: {plan.history_share} is no share; use 0 to 1, 0.01 as a rule"
    yield from _batch_problems(plan)
    for name in ("pipeline", "timeout_ms", "window_s", "overdue_limit"):
        if getattr(plan, name) < 1:
            yield f"{name}: {getattr(plan, name)} is too small; use 1 or more"
    if not plan.phases:
        yield "phases: none given; add at least one"


def _batch_problems(plan: Plan) -> Iterator[str]:
    if not 1 <= plan.batch <= MAX_BATCH:
        yield f"batch: {plan.batch}; use 1 to {MAX_BATCH}"
    elif plan.batch > 1 and plan.target != "tikv":
        yield f"batch: {plan.batch}, but only tikv has calls of several keys; use 1"
    if plan.batched_stream and plan.target != "tikv":
        yield f"batched_stream: {plan.target} has none; use false"
    elif plan.batched_stream and plan.batch > 1:
        yield f"batch: {plan.batch} with batched_stream, which makes batches itself; use 1 or false"


def _share_problems(plan: Plan, rank: int) -> Iterator[str]:
    if plan.workers < 1:
        yield f"workers: {plan.workers} is too small; use 1 or more"
    elif not 0 <= rank < plan.workers:
        yield f"--rank: {rank} is not a worker of {plan.workers}; use 0 to {plan.workers - 1}"
    if plan.connections < max(1, plan.workers):
        yield (
            f"connections: {plan.connections} for {plan.workers} workers; "
            "every worker needs at least one"
        )


def _keyspace_problems(plan: Plan) -> Iterator[str]:
    popularity = plan.keyspace.popularity
    if not 1 <= plan.keyspace.keys < 10**12:
        yield f"keyspace.keys: {plan.keyspace.keys}; use 1 to 10^12 - 1"
    if popularity.kind not in ("uniform", "zipf", "hot_set"):
        yield f"keyspace.popularity.kind: {popularity.kind!r}; use uniform, zipf or hot_set"
    if popularity.kind == "zipf" and not 0 < popularity.theta < 10:
        yield f"keyspace.popularity.theta: {popularity.theta}; use a number above 0, such as 0.99"
    for name in ("hot_keys_share", "hot_traffic_share"):
        if not 0 < getattr(popularity, name) <= 1:
            yield f"keyspace.popularity.{name}: {getattr(popularity, name)}; use 0 to 1, not 0"
    if "%" in plan.keyspace.prefix or not plan.keyspace.prefix.isascii():
        yield f"keyspace.prefix: {plan.keyspace.prefix!r}; use ASCII without '%'"


def _endpoint_problems(plan: Plan) -> Iterator[str]:
    if not plan.endpoints:
        yield "endpoints: none given; list address:port of every member"
    for at, endpoint in enumerate(plan.endpoints):
        try:
            split_endpoint(endpoint)
        except ValueError as error:
            yield f"endpoints[{at}]: {error}; write it like 10.0.0.1:6379"


def _file_problems(plan: Plan) -> Iterator[str]:
    files = {}
    if plan.tls is not None:
        files = {"tls.ca": plan.tls.ca, "tls.cert": plan.tls.cert, "tls.key": plan.tls.key}
    if plan.auth is not None:
        files["auth.password_file"] = plan.auth.password_file
        if plan.target == "etcd":
            yield "auth: etcd takes the user from the certificate's CN; leave auth empty"
        elif plan.target == "tikv":
            yield "auth: tikv knows no users, only certificates; leave auth empty"
    for key, path in files.items():
        if not Path(path).is_file():
            yield f"{key}: {path} is not a file; put it there or correct the path"


def _phase_problems(at: int, phase: Phase) -> Iterator[str]:
    key = f"phases[{at}] ({phase.name})"
    if phase.mode not in ("fill", "closed", "open"):
        yield f"{key}.mode: {phase.mode!r}; use fill, closed or open"
    if phase.duration_s < 1:
        yield f"{key}.duration_s: {phase.duration_s} is too short; use 1 or more"
    if phase.mode == "open" and not phase.rate_per_s > 0:
        yield f"{key}.rate_per_s: {phase.rate_per_s}; an open phase needs a rate above 0"
    if phase.arrivals not in ("constant", "poisson"):
        yield f"{key}.arrivals: {phase.arrivals!r}; use constant or poisson"
