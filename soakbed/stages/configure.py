"""Hosts -> hosts prepared -> a target up and answering, with the proof of what runs there.

`prepare_hosts` once per testbed, then `configure_target` and `wipe_target` around each target's
own runs (D11). Every function may be called again after an interruption anywhere.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from soakbed.adapters.ansible import Ansible, PlayOutcome
from soakbed.adapters.artifact_bundles import Bundle
from soakbed.adapters.artifact_named import UNKNOWN
from soakbed.adapters.artifacts import Artifacts, machine_arch
from soakbed.adapters.host_keys import ensure_tunnel_key
from soakbed.adapters.pki import ensure_pki
from soakbed.adapters.secrets import ensure_passwords
from soakbed.adapters.wheels import load_host_variables
from soakbed.errors import ConfigureError
from soakbed.records.frozen import Frozen
from soakbed.records.places import Places
from soakbed.records.run import ReadyTarget
from soakbed.records.spec import RunSpec
from soakbed.records.testbed import Testbed
from soakbed.stages.housekeeping import defrag_every_s
from soakbed.stages.inventory import write_inventory
from soakbed.stages.load_plan import PREFIX

__all__ = [
    "HostsReady",
    "configure_target",
    "preparation_of",
    "prepare_hosts",
    "verify_target",
    "wipe_target",
    "with_counted_cores",
]

Progress = Callable[[str], None]

# A certificate must outlive all targets of a run, one after the other, each with 72 hours and the
# search for its knee: eleven days, then collection and a long weekend. One that would not is
# renewed while nothing runs.
CERTIFICATE_LIFETIME = dt.timedelta(days=28)
CERTIFICATE_LEFT = dt.timedelta(days=14)

# What runs already needs no time to become ready; an election (1 s) may be under way.
VERIFY_WITHIN_S = 10

# Clients of TiKV ask PD where a key lives.
_CLIENT_PORTS = {"etcd": (2379,), "redis_cluster": (6379, 6380), "tikv": (2479,)}
_LOOKS_ONLY = {"tikv": {"pd_ready_timeout_s": VERIFY_WITHIN_S, "tikv_spread_leaders": False}}
_REDIS_USERS = ("admin", "bench", "replication")


class HostsReady(Frozen):
    """What `prepare_hosts` found out; kept as `<state>/hosts.json`.

    `facts`: host -> what was measured on it; `not_applied`: "host: setting: wanted, found: why".
    """

    changed: int
    facts: dict[str, dict[str, Any]]
    not_applied: tuple[str, ...]


def preparation_of(places: Places, profile: str) -> dict[str, str]:
    """What a preparation depends on: the profile, and every file that reaches the hosts by it."""
    digest = hashlib.sha256()
    for root in (places.playbooks, places.project / "loadgen", places.project / "requirements"):
        for path in sorted(root.rglob("*")):
            inside = set(path.relative_to(root).parts)
            if path.is_file() and not {"__pycache__", "campaigns"} & inside:
                digest.update(str(path.relative_to(places.project)).encode() + path.read_bytes())
    return {"profile": profile, "files": digest.hexdigest()}


def prepare_hosts(  # noqa: PLR0913  (as configure_target)
    testbed: Testbed,
    profile: str,
    *,
    ansible: Ansible,
    places: Places,
    log: Path,
    progress: Progress | None = None,
    load_host: Mapping[str, str] | None = None,
    lease_ends_s: int = 0,
    lease_dropped: bool = False,
) -> HostsReady:
    """Measure and tune every host, bring certificates, set the load hosts up (site.yml).

    `load_host`: variables of role load_host, None to make what they name. `lease_ends_s` (unix
    time; 0: none) and `lease_dropped`: see role lease. Raises ConfigureError naming host and task.
    """
    made = load_host_variables(places, progress=progress) if load_host is None else load_host
    pki = ensure_pki(
        places.state / "pki",
        {host.name: (host.address, host.reached_at) for host in testbed.hosts.values()},
        lifetime=CERTIFICATE_LIFETIME,
        renew_below=CERTIFICATE_LEFT,
    )
    outcome = ansible.play(
        "site.yml",
        _inventory(testbed, places),
        {"profile": profile, "pki_source": str(pki.folder), **made}
        | _tunnel_variables(testbed, places)
        | ({"lease_ends_s": lease_ends_s} if lease_ends_s else {})
        | ({"lease_dropped": True} if lease_dropped else {}),
        log=log,
        on_event=progress,
    )
    ready = _hosts_ready(outcome)
    _hosts_file(places).write_text(ready.model_dump_json(indent=1) + "\n")
    return ready


def _hosts_ready(outcome: PlayOutcome) -> HostsReady:
    return HostsReady(
        changed=outcome.changed,
        facts={
            host: {**topics.get("preflight", {}), **topics.get("clock", {})}
            for host, topics in sorted(outcome.returned.items())
        },
        not_applied=_tuning_not_applied(outcome),
    )


def with_counted_cores(testbed: Testbed, places: Places) -> Testbed:
    """The testbed with the cores that its prepared load hosts counted: each may press."""
    facts = _hosts(places).facts
    counted = {host.name: facts.get(host.name, {}) for host in testbed.of_duty("load")}
    cores = {name: int(found["cores"]) for name, found in counted.items() if "cores" in found}
    return testbed.with_cores(cores)


def configure_target(  # noqa: PLR0913  (all but three are the tools it works with)
    testbed: Testbed,
    target: str,
    spec: RunSpec,
    *,
    ansible: Ansible,
    artifacts: Artifacts,
    places: Places,
    log: Path,
    progress: Progress | None = None,
) -> ReadyTarget:
    """Bring a target up on prepared hosts, and read back what really runs.

    Raises Unavailable when an artifact cannot be had, ConfigureError naming host and task.
    """
    hosts = _hosts(places)
    bundle = artifacts.bundle(
        target, allow_substitute=spec.allow_substitute, arch=_arch(testbed, hosts)
    )
    outcome = ansible.play(
        f"{target}.yml",
        _inventory(testbed, places),
        _target_variables(target, spec, bundle, places),
        log=log,
        on_event=progress,
    )
    return _ready(testbed, target, spec, bundle=bundle, outcome=outcome, hosts=hosts)


def verify_target(  # noqa: PLR0913  (as configure_target)
    testbed: Testbed,
    target: str,
    spec: RunSpec,
    *,
    ansible: Ansible,
    artifacts: Artifacts,
    places: Places,
    log: Path,
    progress: Progress | None = None,
) -> ReadyTarget:
    """Prove again that a running target keeps its promise; nothing is restarted."""
    hosts = _hosts(places)
    bundle = artifacts.bundle(
        target, allow_substitute=spec.allow_substitute, arch=_arch(testbed, hosts)
    )
    variables = _target_variables(target, spec, bundle, places) | {
        "target": target,
        f"{target}_ready_timeout_s": VERIFY_WITHIN_S,
        **_LOOKS_ONLY.get(target, {}),
    }
    outcome = ansible.play(
        "verify.yml", _inventory(testbed, places), variables, log=log, on_event=progress
    )
    return _ready(testbed, target, spec, bundle=bundle, outcome=outcome, hosts=hosts)


def wipe_target(
    testbed: Testbed,
    target: str,
    *,
    ansible: Ansible,
    places: Places,
    log: Path | None = None,
    progress: Progress | None = None,
) -> int:
    """Stop a target and empty its disks; "" means every target. Returns the changed tasks."""
    known = tuple(_CLIENT_PORTS)
    targets = [name for name in known if target in ("", name)]
    if not targets:
        return 0
    outcome = ansible.play(
        "wipe.yml",
        _inventory(testbed, places),
        {"wipe_targets": targets},
        log=log or places.state / "logs" / "wipe.jsonl",
        on_event=progress,
    )
    return outcome.changed


def _inventory(testbed: Testbed, places: Places) -> Path:
    return write_inventory(testbed, places.state / "inventory.yml")


def _tunnel_variables(testbed: Testbed, places: Places) -> dict[str, Any]:
    """What several load hosts need to know: where the master runs, and the key that leads there.

    A single load host needs nothing, and no key is made.
    """
    master, *further = testbed.of_duty("load")
    if not further:
        return {"load_host_master": master.name}
    key = ensure_tunnel_key(places.state / "ssh", testbed=testbed.name)
    return {"load_host_master": master.name, "load_host_tunnel_key": str(key)}


def _hosts_file(places: Places) -> Path:
    return places.state / "hosts.json"


def _hosts(places: Places) -> HostsReady:
    file = _hosts_file(places)
    if not file.exists():
        raise ConfigureError(
            "the hosts are not prepared: nothing was measured on them",
            remedy="run `soakbed provision` first",
        )
    return HostsReady.model_validate_json(file.read_text())


def _arch(testbed: Testbed, hosts: HostsReady) -> str:
    """The one architecture of the data hosts, in Debian's word for it."""
    arches = {
        machine_arch(str(hosts.facts[host.name]["machine"])) for host in testbed.of_duty("data")
    }
    if len(arches) != 1:
        raise ConfigureError(
            f"the data hosts are of {len(arches)} architectures: {', '.join(sorted(arches))}",
            remedy="use hosts of one architecture; members of one target must be alike",
        )
    return arches.pop()


def _target_variables(target: str, spec: RunSpec, bundle: Bundle, places: Places) -> dict[str, Any]:
    variables: dict[str, Any] = {
        "profile": spec.profile,
        f"{target}_bundle": str(bundle.file),
        f"{target}_bundle_stamp": bundle.stamp,
    }
    if target == "etcd":
        variables["etcd_defrag_every_s"] = defrag_every_s(spec)
    if target == "tikv":
        variables |= {
            "pd_bundle": str(bundle.file),
            "pd_bundle_stamp": bundle.stamp,
            "tikv_key_prefix": PREFIX["tikv"],
            "tikv_keys": spec.workload.keys,
            "tikv_value_bytes": spec.workload.value_bytes,
        }
    if target == "redis_cluster":
        variables["redis_cluster_appendfsync"] = spec.appendfsync
        variables["redis_cluster_passwords"] = ensure_passwords(
            places.state / "secrets" / "redis.json", _REDIS_USERS
        )
    return variables


def _ready(
    testbed: Testbed,
    target: str,
    spec: RunSpec,
    *,
    bundle: Bundle,
    outcome: PlayOutcome,
    hosts: HostsReady,
) -> ReadyTarget:
    installed = {
        host: topics["installed"]
        for host, topics in sorted(outcome.returned.items())
        if "installed" in topics
    }
    effective = {
        member: {key: str(value) for key, value in settings.items()}
        for _, topics in sorted(outcome.returned.items())
        for member, settings in topics.get("effective", {}).items()
    }
    for member, told in _led(testbed, outcome).items():
        effective[member] = effective.get(member, {}) | told
    version = _version(target, bundle, effective)
    limits = [f"{host}: {limit}" for host, found in installed.items() for limit in found["limits"]]
    return ReadyTarget(
        target=target,
        profile=spec.profile,
        version=version,
        substituted=bundle.substituted,
        reasons=bundle.reasons,
        artifacts=bundle.uses,
        endpoints=_endpoints(testbed, target),
        binaries={host: found["binaries"] for host, found in installed.items()},
        effective=effective,
        not_applied=(*hosts.not_applied, *limits),
        changed_tasks=outcome.changed,
    )


def _endpoints(testbed: Testbed, target: str) -> tuple[str, ...]:
    """Where clients may knock: members in order, masters of Redis before replicas."""
    return tuple(
        f"{host.address}:{port}"
        for port in _CLIENT_PORTS[target]
        for host in testbed.of_duty("data")
    )


def _led(testbed: Testbed, outcome: PlayOutcome) -> dict[str, dict[str, str]]:
    """How many regions of TiKV each store led, right before it was called ready."""
    members = {host.address: f"{host.name}-tikv" for host in testbed.of_duty("data")}
    return {
        members[place.rpartition(":")[0]]: {
            "soakbed.leaders": str(count),
            "soakbed.regions": str(topics["spread"]["regions"]),
        }
        for topics in outcome.returned.values()
        for place, count in topics.get("spread", {}).get("leaders", {}).items()
    }


def _version(target: str, bundle: Bundle, effective: Mapping[str, Mapping[str, str]]) -> str:
    """What answers must be what was pushed, or every figure would carry the wrong name.

    A stand-in that could not be asked on the controller has the version that its members tell.
    """
    if not effective:
        raise ConfigureError(
            f"no member of {target} told its configuration",
            remedy="run the same command again; if it stays so, read the play's log",
        )
    told_last = ""
    for member, settings in sorted(effective.items()):
        told, pushed = settings.get("version", ""), _pushed(member, bundle)
        if pushed != UNKNOWN and not _says(told, pushed):
            raise ConfigureError(
                f"{member} answers as version {told or '(none)'}, {pushed} was pushed",
                remedy=f"wipe {target} and configure it again",
            )
        told_last = told
    return (told_last or UNKNOWN) if bundle.version == UNKNOWN else bundle.version


def _pushed(member: str, bundle: Bundle) -> str:
    """The version of the program that a member runs: PD and TiKV may be of two."""
    if member.endswith("-pd"):
        return next((use.version for use in bundle.uses if use.name == "pd-server"), bundle.version)
    return bundle.version


def _says(told: str, version: str) -> bool:
    """Versions are told plainly, but by etcd: {"etcdserver": ..., "etcdcluster": ...}."""
    if told.startswith("{"):
        return bool(json.loads(told).get("etcdserver") == version)
    return told == version


def _tuning_not_applied(outcome: PlayOutcome) -> tuple[str, ...]:
    return tuple(
        f"{host}: {row['setting']}: wanted {row['wanted']}, found {row['found'] or 'nothing'}: "
        f"{row['reason']}"
        for host, topics in sorted(outcome.returned.items())
        for row in topics.get("tuning", {}).get("not_applied", [])
    )
