"""After the load: whether the copies of the data are equal, asked from a load host.

What it finds is a record. That it could not ask is one, too: it never costs a run its data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from loadgen.contract.plan import Plan
from soakbed.adapters.ssh import CommandFailed, HostUnreachable, Shell
from soakbed.archive.run_folder import RunFolder
from soakbed.records.quiesced import Copies, CopyFound, Quiesced, Unasked
from soakbed.records.testbed import Testbed
from soakbed.stages.load_plan import session_id
from soakbed.stages.load_session import PYTHON, SESSIONS

__all__ = ["RECORD", "WITHIN_S", "asked", "hashes_in", "quiesce"]

RECORD = "quiesced"
HASHED = "HashKV"  # as loadgen.clients.etcd_copies names its group
# A hundred thousand keys of 1 KB take seconds; a soak's tens of gigabytes are compared as far as
# this goes, and what was left out is told.
WITHIN_S = 300
_GRACE_S = 60
_ADMIN_WITHIN_S = 120
_PKI = "/etc/soakbed/pki"
_ETCDCTL = [
    *("/opt/soakbed/bin/etcdctl", f"--cacert={_PKI}/ca.crt"),
    *(f"--cert={_PKI}/admin.crt", f"--key={_PKI}/admin.key", "--command-timeout=60s", "-w", "json"),
]

_Away = (CommandFailed, HostUnreachable)


def quiesce(
    run: RunFolder, target: str, testbed: Testbed, *, shell: Shell, progress: Callable[[str], None]
) -> None:
    """Ask once the steady session is over, and keep the answer; a second call finds it there."""
    plan_file = run.path / target / "load" / "steady" / "plan.json"
    steady = run.has(f"{target}/load/steady") and plan_file.is_file()
    if run.has(f"{target}/{RECORD}") or not steady:
        return
    progress(f"{target}: comparing its copies")
    found = asked(target, Plan.read(plan_file), testbed, shell=shell)
    run.write(f"{target}/{RECORD}", found)
    for group in found.of_verdict("differ"):
        progress(f"warning: {target}: {group.name}: copies differ{_more(group.differing)}")
    for one in found.unasked[:1]:
        progress(f"{target}: {one.what} could not be asked: {one.why}")


def asked(target: str, plan: Plan, testbed: Testbed, *, shell: Shell) -> Quiesced:
    """What the first load host finds; of etcd also what only an administrator may ask."""
    host = testbed.of_duty("load")[0]
    path = f"{SESSIONS}/{session_id(plan)}/plan.json"
    command = ["env", "-C", "/opt/soakbed", PYTHON, "-m", "loadgen.quiesced"]
    try:
        done = shell.run(
            host,
            [*command, path, f"--within-s={WITHIN_S}"],
            timeout_s=WITHIN_S + _GRACE_S,
            check=False,
        )
    except _Away as error:
        return Quiesced.not_asked(target, error.problem)
    if done.code:
        lines = done.err.strip().splitlines() or [f"it ended with {done.code}"]
        return Quiesced.not_asked(target, f"on {host.name}: {lines[-1]}")
    try:
        found = Quiesced.model_validate_json(done.out)
    except ValidationError as error:
        told = f"on {host.name}: no answer of ours: {error.error_count()} fields"
        return Quiesced.not_asked(target, told)
    return _with_hashes(found, plan, testbed, shell=shell) if target == "etcd" else found


def _with_hashes(found: Quiesced, plan: Plan, testbed: Testbed, *, shell: Shell) -> Quiesced:
    """HashKV by the administrator's certificate, which lies on the data hosts alone, where the
    load's user was refused; what was found stays as it is where that fails, too.
    """
    if any(group.name.startswith(HASHED) for group in found.groups):
        return found
    host = testbed.of_duty("data")[0]
    where = "--endpoints=" + ",".join(f"https://{one}" for one in plan.endpoints)
    try:
        command = [*_ETCDCTL, where, "endpoint", "hashkv"]
        done = shell.run(host, command, timeout_s=_ADMIN_WITHIN_S)
        group = hashes_in(done.out, members=plan.endpoints)
    except _Away as error:
        return _without(found, error.problem)
    except (KeyError, TypeError, ValueError):
        return _without(found, f"etcdctl on {host.name} said something else than hashes")
    left = tuple(one for one in found.unasked if not one.what.startswith(HASHED))
    words = f"{HASHED} by the administrator's certificate on {host.name}; {found.asked}"
    return found.model_copy(
        update={"groups": (group, *found.groups), "unasked": left, "asked": words}
    )


def _without(found: Quiesced, why: str) -> Quiesced:
    told = Unasked(what=f"{HASHED} by the administrator", why=why)
    return found.model_copy(update={"unasked": (*found.unasked, told)})


def hashes_in(said: str, *, members: Sequence[str]) -> Copies:
    """What `etcdctl endpoint hashkv -w json` says of all members.

    Hashes are compared where revision and compact revision are the same: they cover what lies
    between. Raises KeyError, TypeError or ValueError where it says anything else.
    """
    told: dict[str, Mapping[str, Any]] = {
        str(one["Endpoint"]).removeprefix("https://"): one["HashKV"] for one in json.loads(said)
    }
    alike: dict[tuple[int, int], set[int]] = {}
    copies = []
    for member in members:
        one = told.get(member)
        digest = ""
        if one is not None:
            value = int(one["hash"])
            between = int(one.get("compact_revision", 0)), int(one["header"]["revision"])
            alike.setdefault(between, set()).add(value)
            digest = f"{value:08x}"
        copies.append(CopyFound(member=member, role="member", digest=digest))
    made = Copies(name=HASHED, verdict="unknown", copies=tuple(copies))
    if any(len(values) > 1 for values in alike.values()):
        why = "hashes of the same revisions"
        return made.model_copy(update={"verdict": "differ", "why": why})
    if len(told) < len(members) or len(alike) != 1:
        spans = ", ".join(f"{low:,} to {high:,}" for low, high in sorted(alike)) or "none"
        return made.model_copy(update={"why": f"members told hashes of revisions {spans}"})
    ((low, high),) = alike
    return made.model_copy(update={"verdict": "equal", "why": f"revisions {low:,} to {high:,}"})


def _more(differing: str) -> str:
    return f" in {differing}" if differing else ""
