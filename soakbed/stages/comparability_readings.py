"""What a run's records say of one target, as flat pairs key -> value, ready to be set side by side.

Keys are those of `comparability_rules`. What no record holds is None, and is then called "not
recorded"; it is never taken for the same (style rule 9).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from soakbed.records.calibration import RunCalibration
from soakbed.records.facts import Facts, leaves
from soakbed.records.guarantees import guarantees
from soakbed.records.spec import WorkloadSpec
from soakbed.records.testbed import Host
from soakbed.stages.contenders import Pressed

__all__ = ["Readings", "Value", "appendfsync_of", "readings"]

Value = str | float | bool | None
Readings = dict[str, Value]

# Groups of a host's facts that hold settings; each becomes one key per setting.
_SETTINGS = ("sysctl", "thp", "scheduler", "governor", "limits", "mounts")
# Told beside the configuration: where leaders happened to be, and what has a key of its own.
_NOT_CONFIGURATION = ("soakbed.", "version")
_SHA_SHOWN = 12


def readings(one: Pressed) -> Readings:
    """Everything that can make figures unlike, in the order in which a reader asks for it."""
    return {
        **_workload(one),
        **_deployed(one),
        **_effective(one),
        **_tls(one),
        **_testbed(one),
        **_hosts(one),
        **_settings(one),
        **_generator(one),
    }


def _workload(one: Pressed) -> Readings:
    work = one.evidence.spec.workload
    popularity = work.popularity
    told = {
        "uniform": "uniform",
        "zipf": f"Zipf {popularity.theta:g}",
        "hot_set": f"{popularity.hot_traffic_share:g} of traffic on "
        f"{popularity.hot_keys_share:g} of keys",
    }
    batched = one.target == "tikv"  # the others have no such calls
    plain = (
        *("keys", "value_bytes", "read_share", "connections", "pipeline", "timeout_ms"),
        *("arrivals", "window_s", "history_share", "seed", "name"),
    )
    return {
        **{f"workload.{name}": getattr(work, name) for name in plain},
        "workload.steady": _steady(work),
        "workload.knee": work.knee.words if work.knee else "not looked for",
        "workload.popularity": told[popularity.kind],
        "workload.batch": work.batch if batched else 1,
        "workload.batched_stream": work.batched_stream if batched else False,
        **{f"phases.{name}": value for name, value in work.phases.model_dump().items()},
        "steady.offered_per_s": one.steady.offered_per_s if one.steady else None,
    }


def _steady(work: WorkloadSpec) -> str:
    """Where the steady rate comes from; a knee is one of an objective."""
    asked = work.steady_rate
    of_what = f" ({work.knee.slo.words})" if work.knee and asked.share_of_knee else ""
    return f"{asked.words}{of_what}"


def _deployed(one: Pressed) -> Readings:
    spec, ready = one.evidence.spec, one.ready
    promised = guarantees(one.target, appendfsync_of(one))
    return {
        "version": ready.version,
        "profile": spec.profile,
        **{f"durability.{operation}": told for operation, told in promised.items()},
        "substituted": ready.substituted,
        **{
            f"artifact.{use.name}": f"{use.version}, sha256 {use.sha256[:_SHA_SHOWN]}"
            for use in ready.artifacts
        },
        **_binaries(ready.binaries),
        "not_applied": _lines(told.partition(": ")[2] for told in ready.not_applied) or "nothing",
    }


def appendfsync_of(one: Pressed) -> str:
    """As the members of Redis say themselves; as the spec asked where they do not."""
    told = {held["appendfsync"] for held in one.ready.effective.values() if "appendfsync" in held}
    return _lines(told) or one.evidence.spec.appendfsync


def _binaries(binaries: Mapping[str, Mapping[str, str]]) -> Readings:
    """One key per program: the sha256 on every host that has it, once where all are alike."""
    found: dict[str, set[str]] = {}
    for programs in binaries.values():
        for path, digest in programs.items():
            name = path.rpartition("/")[2]
            found.setdefault(f"binary.{name}", set()).add(f"sha256 {digest[:_SHA_SHOWN]}")
    return {name: _lines(digests) for name, digests in sorted(found.items())}


def _effective(one: Pressed) -> Readings:
    """Settings of the running members, one key per kind of member and setting.

    Members differ by their addresses alone as a rule; those are written as the hosts' names, so
    that the same cluster on another network reads the same.
    """
    hosts = one.evidence.testbed.hosts
    found: dict[str, set[str]] = {}
    for member, held in one.ready.effective.items():
        kind = _kind(member, hosts) or one.target
        for key, value in held.items():
            if not key.startswith(_NOT_CONFIGURATION):
                found.setdefault(f"effective.{kind}.{key}", set()).add(_named(value, hosts))
    return {name: _lines(values) for name, values in sorted(found.items())}


def _kind(member: str, hosts: Mapping[str, Host]) -> str:
    """What is left of a member's name without its host: "pd" of d1-pd; "" of d1."""
    for host in sorted(hosts, key=len, reverse=True):
        if member.startswith(host):
            return member.removeprefix(host).lstrip("-:")
    return member


def _named(value: str, hosts: Mapping[str, Host]) -> str:
    for host in sorted(hosts.values(), key=lambda host: len(host.address), reverse=True):
        value = value.replace(host.address, host.name)
    return value


def _tls(one: Pressed) -> Readings:
    """What the engines' connections really spoke, by their own account at the end."""
    notes = [worker.notes for held in one.numbers.sessions.values() for worker in held.workers]
    version = _lines(note["tls_version"] for note in notes if note.get("tls_version"))
    cipher = _lines(note["tls_cipher"] for note in notes if note.get("tls_cipher"))
    return {
        "tls": "mutual" if one.tls else "none",
        "tls.version": version or None,
        "tls.cipher": cipher or None,
    }


def _testbed(one: Pressed) -> Readings:
    testbed = one.evidence.testbed
    return {
        "testbed.name": testbed.name,
        "testbed.provider": testbed.provider,
        "testbed.shares_machine": testbed.shares_machine,
        "testbed.image": _lines(host.image for host in testbed.hosts.values()) or None,
        "hosts.data.count": len(testbed.of_duty("data")),
        "hosts.data.bound_cpus": _bound(testbed.of_duty("data")),
        "hosts.load.count": len(testbed.of_duty("load")),
        "hosts.load.bound_cpus": _bound(testbed.of_duty("load")),
    }


def _bound(hosts: list[Host]) -> str:
    """How many CPUs a duty's hosts are kept to; which ones does not matter."""
    cpus = {cpu for host in hosts for cpu in host.cpus}
    return f"{len(cpus)} for all {len(hosts)}" if cpus else "all of their own"


def _hosts(one: Pressed) -> Readings:
    """Hardware, kernel and file system by duty, as the hosts said before this target's load."""
    made: Readings = {}
    for duty in ("data", "load"):
        names = [host.name for host in one.evidence.testbed.of_duty(duty)]
        facts = [_facts_of(one, name) for name in names]
        for key, path in (
            ("cpu_model", ("cpu", "model")),
            ("cores", ("cpu", "cores")),
            ("memory_bytes", ("memory", "total_bytes")),
            ("kernel", ("kernel",)),
            ("system", ("system",)),
            ("machine", ("machine",)),
            ("container", ("container",)),
        ):
            made[f"hosts.{duty}.{key}"] = _of_all(facts, path)
        measured = [one.evidence.preflight.get(name) or {} for name in names]
        for key in ("data_file_system", "data_mount_options", "clock_source"):
            made[f"hosts.{duty}.{key}"] = _of_all(measured, (key,))
        if duty == "data":
            made["hosts.data.fsync_p50_us"] = _middle(measured, "fsync_us", "p50")
            made["hosts.data.round_trip_us"] = _middle(measured, "rtt_us")
    return made


def _facts_of(one: Pressed, host: str) -> Facts:
    """Facts before the load; what only the preflight measured beside them."""
    held = one.evidence.hosts.get(host)
    before = held.before if held else {}
    return {**_renamed(one.evidence.preflight.get(host) or {}), **before}


def _renamed(preflight: Facts) -> Facts:
    told = {path[-1]: value for path, value in leaves(preflight)}
    made: dict[str, Any] = {
        key: told[key] for key in ("kernel", "machine", "system") if key in told
    }
    if "cores" in told:
        made["cpu"] = {"cores": told["cores"]}
    if "memory_bytes" in told:
        made["memory"] = {"total_bytes": told["memory_bytes"]}
    return made


def _of_all(facts: list[Facts], path: tuple[str, ...]) -> Value:
    """The value at the end of `path` on every host; None where any host does not say."""
    told = [_at_end(one, path) for one in facts]
    if not told or any(value is None for value in told):
        return None
    distinct = list(dict.fromkeys(value for value in told if value is not None))
    return distinct[0] if len(distinct) == 1 else _lines(map(str, distinct))


def _at_end(facts: Facts, path: tuple[str, ...]) -> str | float | None:
    for found, value in leaves(facts):
        if found[-len(path) :] == path and isinstance(value, str | int | float):
            return None if value == "" else value
    return None


def _middle(facts: list[Facts], *path: str) -> float | None:
    """The median over hosts of every number below `path`: what the preflight measured."""
    values = [
        float(value)
        for one in facts
        for found, value in leaves(one)
        if path == found[-len(path) :] or (len(path) == 1 and path[0] in found[:-1])
        if isinstance(value, int | float)
    ]
    return round(statistics.median(values), 1) if values else None


def _settings(one: Pressed) -> Readings:
    """Settings of the hosts, one key each; a duty's hosts are set alike."""
    made: Readings = {}
    for duty in ("data", "load"):
        found: dict[str, set[str]] = {}
        for host in one.evidence.testbed.of_duty(duty):
            facts = _facts_of(one, host.name)
            for group in _SETTINGS:
                held = facts.get(group)
                for path, value in leaves(held) if isinstance(held, Mapping) else ():
                    found.setdefault(f"settings.{duty}.{group}.{'.'.join(path)}", set()).add(
                        str(value)
                    )
        made |= {name: _lines(values) for name, values in sorted(found.items())}
    return made


def _generator(one: Pressed) -> Readings:
    manifest = one.manifest
    engines = (manifest.get("engines") or {}).get(one.target) or []
    calibration = RunCalibration.in_manifest(manifest).calibration
    packages = manifest.get("packages") or {}
    controller = manifest.get("controller") or {}
    workers = {held.planned_workers for held in one.numbers.sessions.values()}
    dirty = manifest.get("dirty")
    return {
        "engine.build": _lines(str(held.get("build", ""))[:_SHA_SHOWN] for held in engines) or None,
        "engine.packages": _lines(str(held.get("packages", ""))[:_SHA_SHOWN] for held in engines)
        or None,
        "engine.workers": _lines(map(str, workers)) or None,
        "engine.machine": _lines((calibration.machines if calibration else {}).values()) or None,
        "soakbed.version": packages.get("soakbed"),
        "soakbed.commit": str(manifest["commit"])[:_SHA_SHOWN] if "commit" in manifest else None,
        "soakbed.dirty": None if dirty is None else ("changed" if dirty else "as committed"),
        "controller.python": controller.get("python"),
        "controller.kernel": controller.get("kernel"),
    }


def _lines(values: Iterable[str]) -> str:
    """Distinct values in one order, so that equal sets read alike; "" for none."""
    return "; ".join(sorted({value for value in values if value}))
