"""The ceiling of the load hosts: the same engines, units and TLS as in a run, against null servers.

A null server answers from memory. It runs on the data hosts as a transient unit that is bounded
in time, and takes its files with it when it ends, whether or not the controller still lives.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from loadgen.contract.parts import read_parts
from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.window import Window
from soakbed.adapters.ssh import HostUnreachable, Shell
from soakbed.errors import LoadError
from soakbed.records.calibration import (
    MOST_OFFERED_SHARE,
    Calibration,
    Ceiling,
    HostCeiling,
    Protocol,
    RunCalibration,
    Shape,
    kept_as,
)
from soakbed.records.numbers import PhaseNumbers
from soakbed.records.spec import TargetName, WorkloadSpec
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.load import drive
from soakbed.stages.load_plan import CLIENT_TLS, PKI, PREFIX, ranks_by_host, session_id, workers_of
from soakbed.stages.load_session import SESSIONS
from soakbed.stats.phase_data import of_windows
from soakbed.stats.windows import phase_numbers

__all__ = [
    "KEPT",
    "PROTOCOLS",
    "calibrate",
    "known_calibration",
    "machines_of",
    "stale_reasons",
    "with_earlier",
    "warning_of",
]

KEPT = "calibration.json"  # beside the testbed's state

PROTOCOLS: dict[TargetName, Protocol] = {
    "redis_cluster": "RESP",
    "etcd": "etcd gRPC",
    "tikv": "TiKV gRPC",
}
SETTLE_S, PRESS_S = 2, 6
# Locust needs 3 to 6 s to start, the engine a second to its first window.
_SERVER_S = 90
_UNIT = "soakbed-null"
_FOLDER = "/run/soakbed-null"
_PORT = 27379  # no target's
_USER = "soakbed"  # who may read the host's key, by the role pki
_READY_S = 15.0
# All that the null server imports: on a data host there is Debian's Python and nothing else.
SHIPPED = {
    "": ("__init__.py", "keyspace.py", "null_replies.py", "null_server.py", "null_tikv.py"),
    "contract": ("__init__.py", "plan.py", "value_ids.py"),
    "engine": (
        *("__init__.py", "hpack.py", "http2.py", "outcome.py", "protobuf.py", "resp.py"),
        "tls.py",
    ),
}
_MACHINE = (
    "import os, platform\n"
    "names = [l.split(':', 1)[1].strip() for l in open('/proc/cpuinfo') if 'model name' in l]\n"
    "cores = len(os.sched_getaffinity(0))\n"
    "print(f'{names[0] if names else platform.machine()}, {cores} core(s), {platform.release()}')"
)

# A null server keeps no keys, so it has no promise to be asked for.
_press = partial(drive, asks_first=False)


def calibrate(
    testbed: Testbed,
    workload: WorkloadSpec,
    *,
    shell: Shell,
    package: Path,
    engine_build: str,
    scratch: Path,
    progress: Callable[[str], None],
) -> Calibration:
    """Press null servers in each protocol, closed loop, with the shape of `workload`.

    TiKV is called as the workload calls it: by the key, in batches, or over one stream.
    `package` is the folder of `loadgen`, `scratch` an empty one for what comes back. Raises
    LoadError when a session already runs there, or when a null server does not start.
    """
    _refuse_company(testbed, shell)
    ceilings = {}
    for target in PROTOCOLS:
        servers = null_hosts(testbed)
        with _null_servers(servers, target, workload, shell=shell, package=package):
            plan = _plan(testbed, servers, target, workload)
            folder = scratch / target
            try:
                _press(plan, testbed, shell=shell, folder=folder, progress=progress)
                told = {host.name: _told(host, shell) for host in servers}
            finally:
                for host in testbed.of_duty("load"):
                    shell.run(host, ["rm", "-rf", f"{SESSIONS}/{session_id(plan)}"], check=False)
        ceilings[kept_as(target, workload)] = _ceiling(plan, testbed, folder, told)
    return Calibration(
        testbed=testbed.name,
        at_s=round(time.time(), 3),
        engine_build=engine_build,
        machines=machines_of(testbed, shell),
        shape=Shape.of(workload),
        ceilings=ceilings,
    )


def with_earlier(made: Calibration, kept: Path) -> Calibration:
    """With the ceilings of other ways of calling that an earlier calibration found.

    They are kept only where all else is as it was: testbed, engine, machines, shape.
    """
    try:
        earlier = Calibration.model_validate_json(kept.read_bytes())
    except (FileNotFoundError, ValidationError):
        return made
    stale = stale_reasons(
        earlier, engine_build=made.engine_build, machines=made.machines, shape=made.shape
    )
    if stale or earlier.testbed != made.testbed:
        return made
    others = {
        name: one if one.at_s else one.model_copy(update={"at_s": earlier.at_s})
        for name, one in earlier.ceilings.items()
        if name not in made.ceilings
    }
    return made.model_copy(update={"ceilings": made.ceilings | others})


def machines_of(testbed: Testbed, shell: Shell) -> dict[str, str]:
    """What each load host is, in its own words: a ceiling holds for that machine alone."""
    return {
        host.name: shell.run(host, ["python3", "-c", _MACHINE]).out.strip()
        for host in testbed.of_duty("load")
    }


def known_calibration(
    kept: Path, workload: WorkloadSpec, *, engine_build: str, machines: dict[str, str]
) -> RunCalibration:
    """What the file that `calibrate` left says, and whether it still holds for this run."""
    if not kept.is_file():
        return RunCalibration()
    try:
        held = Calibration.model_validate_json(kept.read_bytes())
    except ValidationError:
        return RunCalibration(stale=(f"{kept.name} cannot be read by this soakbed",))
    shape = Shape.of(workload)
    stale = stale_reasons(held, engine_build=engine_build, machines=machines, shape=shape)
    return RunCalibration(calibration=held, stale=stale)


def warning_of(held: RunCalibration, target: str, workload: WorkloadSpec, rate_per_s: float) -> str:
    """What to say before a load that asks for much of what the load hosts can do; "" if not."""
    share = held.offered_share(target, workload, rate_per_s)
    if share is None or share <= MOST_OFFERED_SHARE:
        return ""
    return (
        f"warning: {target} is offered {rate_per_s:,.0f}/s, {share:.0%} of the load hosts' "
        f"ceiling; above {MOST_OFFERED_SHARE:.0%} the generator's own delay grows"
    )


def stale_reasons(
    held: Calibration, *, engine_build: str, machines: dict[str, str], shape: Shape
) -> tuple[str, ...]:
    """Why a calibration may not hold for a run now; empty when nothing has changed."""
    reasons = []
    if held.engine_build != engine_build:
        reasons.append("the engine has changed since")
    for name in sorted(machines.keys() | held.machines.keys()):
        now, then = machines.get(name), held.machines.get(name)
        if now != then:
            reasons.append(f"load host {name} is {now or 'gone'}, was {then or 'not there'}")
    for name in Shape.model_fields:
        asked, tried = getattr(shape, name), getattr(held.shape, name)
        if asked != tried:
            reasons.append(f"{name} is {asked:g}, calibrated with {tried:g}")
    return tuple(reasons)


def null_hosts(testbed: Testbed) -> list[Host]:
    """Data hosts that do not share their CPUs: more null servers on one core would be slower."""
    chosen: dict[object, Host] = {}
    for host in testbed.of_duty("data"):
        chosen.setdefault(host.cpus or host.name, host)
    return list(chosen.values())


def _refuse_company(testbed: Testbed, shell: Shell) -> None:
    """Two loads at once would measure each other."""
    listed = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating"]
    for host in testbed.hosts.values():
        targets = ("soakbed-etcd*", "soakbed-redis*", "soakbed-pd*", "soakbed-tikv*")
        units = ["soakbed-load-worker@*", f"{_UNIT}.service", *targets]
        found = shell.run(host, [*listed, *units]).out.split()
        if found:
            raise LoadError(
                f"{host.name} is busy with {found[0]}: its ceiling cannot be measured now",
                remedy="wait for the run to end (`soakbed status`) or go on with it (`soakbed "
                "resume`); what `soakbed configure` started ends with `soakbed teardown`",
            )


@contextmanager
def _null_servers(
    servers: Sequence[Host], target: str, workload: WorkloadSpec, *, shell: Shell, package: Path
) -> Iterator[None]:
    """One on each host, stopped when the block ends; each also ends by itself."""
    try:
        for host in servers:
            _start(host, servers, target, workload, shell=shell, package=package)
        for host in servers:
            _wait_until_it_listens(host, shell)
        yield
    finally:
        for host in servers:
            try:
                shell.run(host, ["systemctl", "stop", f"{_UNIT}.service"], check=False)
            except HostUnreachable:  # it ends by itself
                continue


def _start(
    host: Host,
    servers: Sequence[Host],
    target: str,
    workload: WorkloadSpec,
    *,
    shell: Shell,
    package: Path,
) -> None:
    shell.run(host, ["rm", "-rf", _FOLDER])
    for part, names in SHIPPED.items():
        texts = {name: (package / part / name).read_text() for name in names}
        shell.put_texts(host, f"{_FOLDER}/loadgen/{part}".rstrip("/"), texts)
    shell.run(host, ["chown", "-R", f"{_USER}:", _FOLDER])
    unit = [
        *("systemd-run", f"--unit={_UNIT}", "--collect", "--quiet"),
        *("-p", f"RuntimeMaxSec={_SERVER_S + 15}", "-p", "TimeoutStopSec=10"),
        *("-p", f"WorkingDirectory={_FOLDER}", "-p", f"ExecStopPost=+/bin/rm -rf {_FOLDER}"),
        *("-p", "Environment=PYTHONDONTWRITEBYTECODE=1", "-p", "NoNewPrivileges=yes"),
        *("-p", f"User={_USER}"),
    ]
    members = [_address(one) for one in servers]
    server = [
        *("/usr/bin/python3", "-m", "loadgen.null_server", "--target", target),
        *("--listen", _address(host), "--members", *members),
        *("--tls", f"{PKI}/ca.crt", f"{PKI}/host.crt", f"{PKI}/host.key"),
        *("--prefix", PREFIX[_named(target)], "--value-bytes", str(workload.value_bytes)),
        *("--keys", str(workload.keys), "--seconds", str(_SERVER_S), "--told", f"{_FOLDER}/told"),
    ]
    shell.run(host, [*unit, *server])


def _wait_until_it_listens(host: Host, shell: Shell) -> None:
    ends_s = time.monotonic() + _READY_S
    while shell.run(host, ["test", "-s", f"{_FOLDER}/told"], check=False).code:
        if time.monotonic() > ends_s:
            asked = ["journalctl", "--no-pager", "--output=cat", "--lines=3", "-u", _UNIT]
            said = shell.run(host, asked, check=False).out.strip().replace("\n", " / ")
            raise LoadError(
                f"{host.name}: the null server did not start: {said or 'it said nothing'}",
                remedy=f"mend what it says; port {_PORT} of the data hosts must be free",
            )
        time.sleep(0.2)


def _told(host: Host, shell: Shell) -> list[tuple[float, float]]:
    """(end of the second, CPU share) of a null server, second by second."""
    lines = shell.run(host, ["cat", f"{_FOLDER}/told"]).out.splitlines()
    seconds = [json.loads(line) for line in lines]
    return [(one["until_s"], one["cpu_share"]) for one in seconds]


def _plan(
    testbed: Testbed, servers: Sequence[Host], target: TargetName, workload: WorkloadSpec
) -> Plan:
    return Plan(
        run_id=f"calibrate-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}",
        session="capacity",
        target=_named(target),
        endpoints=tuple(_address(host) for host in servers),
        keyspace=Keyspace(keys=workload.keys, prefix=PREFIX[target]),
        phases=(Phase("warmup", "closed", SETTLE_S), Phase("capacity", "closed", PRESS_S)),
        tls=CLIENT_TLS,
        value_bytes=workload.value_bytes,
        read_share=workload.read_share,
        connections=workload.connections,
        pipeline=workload.pipeline,
        batch=workload.batch if target == "tikv" else 1,
        batched_stream=workload.batched_stream and target == "tikv",
        timeout_ms=workload.timeout_ms,
        workers=workers_of(testbed, connections=workload.connections),
        seed=workload.seed,
    )


def _address(host: Host) -> str:
    name = f"[{host.address}]" if ":" in host.address else host.address
    return f"{name}:{_PORT}"


def _named(target: str) -> TargetName:
    found: list[TargetName] = [name for name in PROTOCOLS if name == target]
    return found[0]


def _ceiling(
    plan: Plan, testbed: Testbed, folder: Path, told: dict[str, list[tuple[float, float]]]
) -> Ceiling:
    """From spools and what the null servers told, over the measured phase alone."""
    hosts: dict[str, HostCeiling] = {}
    began_s, tls = 0.0, ""
    for name, ranks in ranks_by_host(testbed, plan.workers).items():
        frames = [one for rank in ranks for one in read_parts(folder, rank)]
        notes = [one["notes"] for one in frames if one["kind"] == "end"]
        tls = " ".join(notes[0].get(key, "") for key in ("tls_version", "tls_cipher"))
        windows = [Window.from_json(one) for one in frames if one["kind"] == "window"]
        phase = phase_numbers(
            of_windows(windows)["capacity"],
            planned_s=PRESS_S,
            offered_per_s=0.0,
            arrivals="",
            workers=len(ranks),
        )
        began_s = max(began_s, phase.started_s)
        hosts[name] = _host(phase, workers=len(ranks))
    return Ceiling(
        protocol=PROTOCOLS[plan.target],
        calls=_calls(plan),
        at_s=round(time.time(), 3),
        tls=tls.strip(),
        seconds=PRESS_S,
        hosts=hosts,
        servers={name: _server_share(seconds, began_s) for name, seconds in told.items()},
    )


def _calls(plan: Plan) -> str:
    if plan.batched_stream:
        return "one stream"
    return f"batches of {plan.batch}" if plan.batch > 1 else ""


def _host(phase: PhaseNumbers, *, workers: int) -> HostCeiling:
    medians = [one.service.p50_us for one in phase.operations.values()]
    return HostCeiling(
        workers=workers,
        ops_per_s=round(phase.throughput_per_s, 1),
        # Of reads and writes the slower: a ceiling that flatters helps nobody.
        p50_us=max((one for one in medians if one is not None), default=None),
        cpu_share=phase.generator.cpu_share,
        wait_share=phase.generator.wait_share_max,
    )


def _server_share(seconds: list[tuple[float, float]], began_s: float) -> float:
    """Mean over the seconds that lie in the measured phase, but for the first."""
    inside = [share for until_s, share in seconds if began_s + 1 <= until_s <= began_s + PRESS_S]
    return round(statistics.fmean(inside), 4) if inside else 0.0
