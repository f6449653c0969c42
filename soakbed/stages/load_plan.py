"""From a spec and a target that is ready to the plan of one session; pure.

Two sessions press each target (design.md D6): "capacity", closed loop, finds what it can do;
"steady", open loop at a share of that, is where latency is read. Several workers fill the key
space in a session before: each is done with its keys at another time, and all must begin to press
together. Between the two, where the workload asks for the knee, come "knee-1" and on: steps of
rising rates (stages.knee_steps), each session planned from what those before it showed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from loadgen.contract.plan import Auth, Keyspace, Phase, Plan, Popularity, Tls
from soakbed.errors import LoadError
from soakbed.records.ladder import MOST_RUNGS
from soakbed.records.run import ReadyTarget
from soakbed.records.spec import RunSpec, TargetName
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.knee_search import most_sessions
from soakbed.stages.knee_steps import longest_step_s, step_phases

__all__ = [
    "CLIENT_TLS",
    "PKI",
    "PREFIX",
    "KneeSoFar",
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


@dataclass(frozen=True, slots=True)
class KneeSoFar:
    """What the search for the knee found: for "knee-..." the rates that come next, with a pause
    before them where `pause_per_s` is above 0; for "steady" the highest rate that held.
    """

    rates_per_s: tuple[float, ...] = ()
    pause_per_s: float = 0.0
    held_per_s: float = 0.0


def plan_session(
    spec: RunSpec,
    ready: ReadyTarget,
    *,
    run_id: str,
    session: str,
    capacity_per_s: float,
    testbed: Testbed,
    knee: KneeSoFar = KneeSoFar(),
) -> Plan:
    """The plan of one session; `capacity_per_s` and `knee` matter after session "capacity".

    Raises LoadError when there is no capacity, or no knee, to take a share of.
    """
    work, target = spec.workload, _named(ready.target)
    workers = workers_of(testbed, connections=work.connections)
    return Plan(
        run_id=run_id,
        session=session,
        target=target,
        endpoints=ready.endpoints,
        keyspace=_keyspace(spec, target),
        phases=_phases(spec, target, session, capacity_per_s, knee, fills_apart=workers > 1),
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
        history_share=work.history_share,
        workers=workers,
        seed=work.seed + _try_of(session),
    )


def _keyspace(spec: RunSpec, target: TargetName) -> Keyspace:
    work = spec.workload
    popularity = Popularity(**work.popularity.model_dump())
    return Keyspace(keys=work.keys, prefix=PREFIX[target], popularity=popularity)


def _try_of(session: str) -> int:
    """Each session of a ladder draws other arrivals: a burst that broke a rate is not in its next
    try. The steps of one session share theirs, faster or slower, so that they differ by rate alone.
    """
    return int(session.removeprefix("knee-")) if session.startswith("knee-") else 0


def _named(target: str) -> Literal["etcd", "redis_cluster", "tikv"]:
    match target:
        case "etcd" | "redis_cluster" | "tikv":
            return target
    raise ValueError(f"no such target: {target}")


def sessions_of(spec: RunSpec, testbed: Testbed) -> tuple[str, ...]:
    """The sessions that press every target, in order; those of a knee come before the last."""
    alone = workers_of(testbed, connections=spec.workload.connections) == 1
    return ("capacity", "steady") if alone else ("fill", "capacity", "steady")


def _phases(
    spec: RunSpec,
    target: str,
    session: str,
    capacity_per_s: float,
    knee: KneeSoFar,
    *,
    fills_apart: bool,
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
    elif session == "steady":
        rate_per_s = _steady_per_s(spec, target, capacity_per_s, knee)
        phases = [
            Phase("warmup", "open", lasts.settle_s, rate_per_s, work.arrivals),
            Phase("steady", "open", lasts.steady_s, rate_per_s, work.arrivals),
        ]
    else:
        phases = step_phases(work, knee.rates_per_s, pause_per_s=knee.pause_per_s)
    return tuple(phase for phase in phases if phase.duration_s)


def _steady_per_s(spec: RunSpec, target: str, capacity_per_s: float, knee: KneeSoFar) -> float:
    """The rate of the steady phase, wherever the workload takes it from."""
    asked = spec.workload.steady_rate
    if asked.rate_per_s is not None:
        return asked.rate_per_s
    if asked.share_of_knee is not None and knee.held_per_s <= 0:
        raise LoadError(
            f"{target}: no rate kept the objective, so there is no knee to take a share of",
            remedy=f"read {target}/knee.json for what each rate missed; lower knee.slo, or name "
            "steady.rate_per_s",
        )
    if asked.share_of_knee is not None:
        return round(knee.held_per_s * asked.share_of_knee, 3)
    rate_per_s = round(capacity_per_s * (asked.share_of_capacity or 0.0), 3)
    if rate_per_s <= 0:
        raise LoadError(
            f"{target}: the capacity session ended no operation well, "
            "so there is no rate for the steady phase",
            remedy=f"read {target}/load/capacity/locust/ and the members' journals for why",
        )
    return rate_per_s


def goes_on(session: str) -> bool:
    """Whether a session that broke off is continued by the same clock; any other begins anew.

    Its schedule is fixed in time. A closed loop finds a capacity, and half of one finds half of it.
    """
    return session == "steady"


def session_id(plan: Plan) -> str:
    """The name of the session on the load hosts."""
    return f"{plan.run_id}-{plan.target}-{plan.session}"


def session_limit_s(plan: Plan) -> int:
    """How long the session can last if nothing is wrong: its phases, what each leaves to drain."""
    drains_s = math.ceil(len(plan.phases) * plan.timeout_ms / 1000)
    return sum(phase.duration_s for phase in plan.phases) + drains_s + _SESSION_GRACE_S


def load_limit_s(spec: RunSpec) -> int:
    """How long all sessions of one target can last, one after the other, if nothing is wrong."""
    lasts = spec.workload.phases
    phases_s = lasts.warmup_s + lasts.capacity_s + lasts.settle_s + lasts.steady_s
    return phases_s + _fill_limit_s(spec) + 3 * _SESSION_GRACE_S + _knee_limit_s(spec)


def _knee_limit_s(spec: RunSpec) -> int:
    """How long finding the knee can last, whatever the answers are: a ladder, then single steps."""
    knee = spec.workload.knee
    if knee is None:
        return 0
    step_s = longest_step_s(spec.workload) + math.ceil(spec.workload.timeout_ms / 1000)
    sessions = most_sessions(knee)
    return MOST_RUNGS * step_s + sessions * (step_s + knee.pause_s + _SESSION_GRACE_S)


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
