"""From a spec and a target that is ready to the plan of one session; pure.

Two sessions press each target (design.md D6): "capacity", closed loop, finds what it can do;
"steady", open loop at a share of that, is where latency is read. Several workers fill the key
space in a session before: each is done with its keys at another time, and all must begin to press
together.
"""

from __future__ import annotations

import math
from typing import Literal

from loadgen.contract.plan import Auth, Keyspace, Phase, Plan, Popularity, Tls
from soakbed.errors import LoadError
from soakbed.records.run import ReadyTarget
from soakbed.records.spec import RunSpec, TargetName
from soakbed.records.testbed import Host, Testbed

__all__ = [
    "CLIENT_TLS",
    "PKI",
    "PREFIX",
    "goes_on",
    "load_limit_s",
    "plan_session",
    "ranks_by_host",
    "session_id",
    "session_limit_s",
    "sessions_of",
    "workers_of",
]

PKI = "/etc/soakbed/pki"
CLIENT_TLS = Tls(ca=f"{PKI}/ca.crt", cert=f"{PKI}/client.crt", key=f"{PKI}/client.key")
USER = "bench"
# etcd knows the user by the certificate's CN, so there is no password to speak of.
_AUTH = {"redis_cluster": Auth(user=USER, password_file="/etc/soakbed/secrets/redis_bench")}
# etcd's role `bench` may write below /bench/, Redis' user `bench` keys that begin with bench:.
PREFIX: dict[TargetName, str] = {"etcd": "/bench/", "redis_cluster": "bench:", "tikv": "bench:"}
# A fill slower than this is broken: etcd on a disk with 10 ms fsyncs still does several times it.
_LEAST_FILL_PER_S = 200
_FILL_GRACE_S = 60
# Beyond the phases: Locust's start, connecting, draining what is in flight, merging totals.
_SESSION_GRACE_S = 180
# From so many cores on a load host leaves one to everything but engines.
_CORES_TO_SPARE = 4


def plan_session(
    spec: RunSpec,
    ready: ReadyTarget,
    *,
    run_id: str,
    session: str,
    capacity_per_s: float,
    testbed: Testbed,
) -> Plan:
    """The plan of one session. `capacity_per_s` matters to "steady" only.

    Raises LoadError when there is no capacity to take a share of.
    """
    work = spec.workload
    target = _named(ready.target)
    workers = workers_of(testbed, connections=work.connections)
    return Plan(
        run_id=run_id,
        session=session,
        target=target,
        endpoints=ready.endpoints,
        keyspace=Keyspace(
            keys=work.keys,
            prefix=PREFIX[target],
            popularity=Popularity(**work.popularity.model_dump()),
        ),
        phases=_phases(spec, target, session, capacity_per_s, fills_apart=workers > 1),
        tls=CLIENT_TLS,
        auth=_AUTH.get(target),
        value_bytes=work.value_bytes,
        read_share=work.read_share,
        connections=work.connections,
        pipeline=work.pipeline,
        batch=work.batch if target == "tikv" else 1,
        batched_stream=work.batched_stream and target == "tikv",
        timeout_ms=work.timeout_ms,
        window_s=work.window_s,
        workers=workers,
        seed=work.seed,
    )


def _named(target: str) -> Literal["etcd", "redis_cluster", "tikv"]:
    match target:
        case "etcd" | "redis_cluster" | "tikv":
            return target
    raise ValueError(f"no such target: {target}")


def sessions_of(spec: RunSpec, testbed: Testbed) -> tuple[str, ...]:
    """The sessions that press one target, in order."""
    alone = workers_of(testbed, connections=spec.workload.connections) == 1
    return ("capacity", "steady") if alone else ("fill", "capacity", "steady")


def _phases(
    spec: RunSpec, target: str, session: str, capacity_per_s: float, *, fills_apart: bool
) -> tuple[Phase, ...]:
    work, lasts = spec.workload, spec.workload.phases
    fill = Phase("fill", "fill", _fill_limit_s(spec))
    if session == "fill":
        phases = [fill]
    elif session == "capacity":
        phases = [
            *([] if fills_apart else [fill]),
            Phase("warmup", "closed", lasts.warmup_s),
            Phase("capacity", "closed", lasts.capacity_s),
        ]
    else:
        rate_per_s = round(capacity_per_s * work.steady_share_of_capacity, 3)
        if rate_per_s <= 0:
            raise LoadError(
                f"{target}: the capacity session ended no operation well, "
                "so there is no rate for the steady phase",
                remedy=f"read {target}/load/capacity/locust/ and the members' journals for why",
            )
        phases = [
            Phase("warmup", "open", lasts.settle_s, rate_per_s, work.arrivals),
            Phase("steady", "open", lasts.steady_s, rate_per_s, work.arrivals),
        ]
    return tuple(phase for phase in phases if phase.duration_s)


def goes_on(session: str) -> bool:
    """Whether a session that broke off is continued by the same clock; any other begins anew.

    Its schedule is fixed in time. A closed loop finds a capacity, and half of one finds half of it.
    """
    return session == "steady"


def session_id(plan: Plan) -> str:
    """The name of the session on the load hosts."""
    return f"{plan.run_id}-{plan.target}-{plan.session}"


def session_limit_s(plan: Plan) -> int:
    """How long the session can last if nothing is wrong."""
    return sum(phase.duration_s for phase in plan.phases) + _SESSION_GRACE_S


def load_limit_s(spec: RunSpec) -> int:
    """How long all sessions of one target can last, one after the other, if nothing is wrong."""
    lasts = spec.workload.phases
    phases_s = lasts.warmup_s + lasts.capacity_s + lasts.settle_s + lasts.steady_s
    return phases_s + _fill_limit_s(spec) + 3 * _SESSION_GRACE_S


def _fill_limit_s(spec: RunSpec) -> int:
    return _FILL_GRACE_S + math.ceil(spec.workload.keys / _LEAST_FILL_PER_S)


def workers_of(testbed: Testbed, *, connections: int) -> int:
    """One worker per core of the load hosts, while each has a connection for every member."""
    members = max(len(testbed.of_duty("data")), 1)
    return max(min(len(_cores(testbed)), connections // members), 1)


def ranks_by_host(testbed: Testbed, workers: int) -> dict[str, tuple[int, ...]]:
    """Which ranks run on which load host: hosts in turn, so that none idles while another is full.

    Rank 0 is on the first host, where the Locust master runs.
    """
    cores = _cores(testbed)
    ranks: dict[str, tuple[int, ...]] = {}
    for rank in range(workers):
        host = cores[rank % len(cores)].name
        ranks[host] = (*ranks.get(host, ()), rank)
    return ranks


def _cores(testbed: Testbed) -> list[Host]:
    """The host of each core that may press: the first core of every host, then the second, ..."""
    cores = [(number, host) for host in testbed.of_duty("load") for number in range(_engines(host))]
    return [host for _, host in sorted(cores, key=lambda core: core[0])]


def _engines(host: Host) -> int:
    """How many engines a load host bears; one where nobody knows its cores.

    CPUs that it was given are for engines alone. A machine of its own with four cores or more
    keeps one for its kernel, its network and the Locust processes.
    """
    if host.cpus:
        return len(host.cpus)
    return host.cores - 1 if host.cores >= _CORES_TO_SPARE else max(host.cores, 1)
